/// The attributes `holdfast.*`: what stands on a file, taken and released by setfattr. docs/ABI.md has the
/// table.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

enum VirtualAttribute: Equatable {
  /// `holdfast.seal` (name "") and `holdfast.seal.NAME`.
  case seal(name: String)
  case isMapImmutable
  case sealCount
  case holders
  case lastRefusal
  case generation
  case extents
  /// On files and directories; kept on disk.
  case extentSize
  /// On the root directory.
  case allSeals
  case statistics
  /// Ours by its prefix, and no such attribute.
  case unknown

  private static let prefix = Array("holdfast.".utf8)

  /// nil for a name that is not ours.
  init?(_ name: UnsafeRawBufferPointer) {
    guard name.starts(with: Self.prefix) else { return nil }
    let rest = name.dropFirst(Self.prefix.count)
    switch String(decoding: rest, as: UTF8.self) {
    case "seal": self = .seal(name: "")
    case "iomap_immutable": self = .isMapImmutable
    case "seal_count": self = .sealCount
    case "holders": self = .holders
    case "last_refusal": self = .lastRefusal
    case "generation": self = .generation
    case "extents": self = .extents
    case "extsize": self = .extentSize
    case "seals": self = .allSeals
    case "stats": self = .statistics
    case let text where text.hasPrefix("seal.") && SealName.isValid(text.utf8.dropFirst(5)):
      self = .seal(name: String(text.dropFirst(5)))
    default: self = .unknown
    }
  }
}

extension MountSession {
  func value(of attribute: VirtualAttribute, _ inode: InodeNumber, by caller: Credentials) throws(FSError) -> [UInt8] {
    let record = try store.attributes(of: inode).record
    let isApplicable =
      switch attribute {
      case .allSeals, .statistics: inode == RootDirectory.inode
      case .unknown: false
      case .extentSize: record.extentSizeHint > 0 && (record.isRegular || record.isDirectory)
      default: record.isRegular
      }
    guard isApplicable else { throw .noData }
    let text: [UInt8]
    switch attribute {
    case .seal(let name):
      let identity = RequestIdentity.named(uid: caller.uid, name: name)
      guard let specification = store.seals.specification(of: identity, inode: inode) else { throw .noData }
      text = Array(specification.utf8)
    case .isMapImmutable: text = Array((store.seals.isImmutable(inode) ? "1" : "0").utf8)
    case .sealCount: text = Array(String(store.seals.count(inode)).utf8)
    case .holders: text = store.seals.holdersJSON(of: inode)
    case .lastRefusal:
      guard let refusal = store.seals.lastRefusal(of: inode) else { throw .noData }
      var json = JSONWriter()
      refusal.write(to: &json)
      text = json.finish()
    case .generation: text = Array(String(try store.mapGeneration(of: inode)).utf8)
    case .extents: text = try extentLines(of: inode)
    case .extentSize: text = Array(String(UInt64(record.extentSizeHint) << UInt64(Block.shift)).utf8)
    case .allSeals: text = store.seals.allHoldersJSON()
    case .statistics: text = statisticsJSON()
    case .unknown: throw .noData
    }
    guard text.count <= Limits.xattrValueBytes else { throw .resultTooLarge }
    return text
  }

  func set(
    _ attribute: VirtualAttribute, _ inode: InodeNumber, to value: UnsafeRawBufferPointer, mode: XattrMode,
    by caller: Credentials
  ) throws(FSError) {
    if case .extentSize = attribute { return try setExtentSize(of: inode, to: value, mode: mode, by: caller) }
    guard case .seal(let name) = attribute else { throw .invalid(.argument) }
    try checkSealRight(inode, of: caller, holdsWriteHandle: false)
    let specification = try SealSpecification(parsing: value)
    if mode == .replace {
      let identity = RequestIdentity.named(uid: caller.uid, name: name)
      guard store.seals.request(identity, inode: inode) != nil else { throw .noData }
    }
    _ = try takeSeal(
      specification, name: name, handle: nil, createOnly: mode == .create, of: inode, by: caller)
  }

  func remove(_ attribute: VirtualAttribute, _ inode: InodeNumber, by caller: Credentials) throws(FSError) {
    switch attribute {
    case .seal(let name):
      try releaseSeal(.named(uid: caller.uid, name: name), of: inode, by: caller)
    case .extentSize:
      guard try store.attributes(of: inode).record.extentSizeHint > 0 else { throw .noData }
      try store.setExtentSize(0, of: inode, by: caller)
      notifier.invalidateAttributes(of: inode)
    case .unknown: throw .noData
    default: throw .notPermitted
    }
  }

  /// Bytes, with K, M or G if you like; 0 for none.
  private func setExtentSize(
    of inode: InodeNumber, to value: UnsafeRawBufferPointer, mode: XattrMode, by caller: Credentials
  ) throws(FSError) {
    let isSet = try store.attributes(of: inode).record.extentSizeHint > 0
    if mode == .create, isSet { throw .exists }
    if mode == .replace, !isSet { throw .noData }
    var digits = value[...]
    var shift: UInt64 = 0
    switch digits.last.map({ $0 | 0x20 }) {
    case UInt8(ascii: "k"): shift = 10
    case UInt8(ascii: "m"): shift = 20
    case UInt8(ascii: "g"): shift = 30
    default: break
    }
    if shift > 0 { digits.removeLast() }
    guard !digits.isEmpty, digits.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }),
      let number = UInt64(String(decoding: digits, as: UTF8.self)), number <= Store.maximumExtentSize >> shift
    else { throw .invalid(.argument) }
    try store.setExtentSize(number << shift, of: inode, by: caller)
    notifier.invalidateAttributes(of: inode)
  }

  /// `logical physical length flags`, a line per extent, in bytes.
  private func extentLines(of inode: InodeNumber) throws(FSError) -> [UInt8] {
    var text: [UInt8] = []
    var offset: UInt64 = 0
    while true {
      let extents = try store.extents(of: inode, from: offset, limit: 256)
      guard let last = extents.last else { return text }
      for extent in extents {
        var flags = extent.flags.contains(.unwritten) ? "unwritten" : "written"
        if extent.flags.contains(.shared) { flags += ",shared" }
        text += "\(extent.logical) \(extent.physical) \(extent.length) \(flags)\n".utf8
      }
      guard text.count <= Limits.xattrValueBytes else { throw .resultTooLarge }
      offset = last.logical + last.length
    }
  }
}
