/// POSIX access control lists (acl(5)), kept as the attributes Linux knows them by. The kernel checks access with
/// them; keeping them in step with the mode, and inheriting defaults, is the filesystem's part.
///
/// The attribute's bytes (linux/posix_acl_xattr.h): version u32 = 2, then entries of tag u16, permissions u16, id u32.

import HoldfastBase
import HoldfastFormat

enum AclKind {
  case access
  case defaults

  init?(_ name: UnsafeRawBufferPointer) {
    if name.elementsEqual("system.posix_acl_access".utf8) {
      self = .access
    } else if name.elementsEqual("system.posix_acl_default".utf8) {
      self = .defaults
    } else {
      return nil
    }
  }

  func withName<Result>(_ body: (UnsafeRawBufferPointer) throws(FSError) -> Result) throws(FSError) -> Result {
    let name: StaticString = self == .access ? "system.posix_acl_access" : "system.posix_acl_default"
    return try body(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount))
  }
}

struct Acl {
  struct Entry {
    var tag: UInt16
    var permissions: UInt16
    var id: UInt32
  }

  static let userObject: UInt16 = 0x01
  static let user: UInt16 = 0x02
  static let groupObject: UInt16 = 0x04
  static let group: UInt16 = 0x08
  static let mask: UInt16 = 0x10
  static let other: UInt16 = 0x20
  private static let version: UInt32 = 2

  var entries: [Entry]

  /// Parses and checks as posix_acl_valid does; nil when malformed.
  init?(_ bytes: UnsafeRawBufferPointer) {
    guard bytes.count >= 4, (bytes.count - 4) % 8 == 0, let p = bytes.baseAddress, p.u32(0) == Acl.version else {
      return nil
    }
    entries = stride(from: 4, to: bytes.count, by: 8).map {
      Entry(tag: p.u16($0), permissions: p.u16($0 + 2), id: p.u32($0 + 4))
    }
    guard isValid else { return nil }
  }

  private var isValid: Bool {
    var last: UInt16 = 0
    var counts: [UInt16: Int] = [:]
    for entry in entries {
      guard entry.permissions & ~7 == 0, entry.tag >= last,
        [Acl.userObject, Acl.user, Acl.groupObject, Acl.group, Acl.mask, Acl.other].contains(entry.tag)
      else { return false }
      last = entry.tag
      counts[entry.tag, default: 0] += 1
    }
    let named = counts[Acl.user, default: 0] + counts[Acl.group, default: 0]
    return counts[Acl.userObject] == 1 && counts[Acl.groupObject] == 1 && counts[Acl.other] == 1
      && counts[Acl.mask, default: 0] <= 1 && (named == 0 || counts[Acl.mask] == 1)
  }

  var bytes: [UInt8] {
    var result = [UInt8](repeating: 0, count: 4 + entries.count * 8)
    result.withUnsafeMutableBytes { buffer in
      let p = buffer.baseAddress!
      p.put(Acl.version, 0)
      for (index, entry) in entries.enumerated() {
        p.put(entry.tag, 4 + index * 8)
        p.put(entry.permissions, 6 + index * 8)
        p.put(entry.id, 8 + index * 8)
      }
    }
    return result
  }

  subscript(tag: UInt16) -> UInt16? {
    get { entries.first { $0.tag == tag }?.permissions }
    set { for index in entries.indices where entries[index].tag == tag { entries[index].permissions = newValue ?? 0 } }
  }

  /// Nothing the mode could not say.
  var isMinimal: Bool { entries.count == 3 }

  /// The permission bits this list means: the mask stands for the group where there is one.
  var mode: UInt32 {
    UInt32(self[Acl.userObject] ?? 0) << 6 | UInt32(self[Acl.mask] ?? self[Acl.groupObject] ?? 0) << 3
      | UInt32(self[Acl.other] ?? 0)
  }

  /// chmod: user, mask (or group) and other as `mode` says.
  mutating func setMode(_ mode: UInt32) {
    self[Acl.userObject] = UInt16(mode >> 6 & 7)
    self[self[Acl.mask] != nil ? Acl.mask : Acl.groupObject] = UInt16(mode >> 3 & 7)
    self[Acl.other] = UInt16(mode & 7)
  }

  /// A new inode's: what both the list and the mode asked for allow.
  mutating func restrict(to mode: UInt32) { setMode(self.mode & mode) }
}

/// The lists a new inode gets.
struct InheritedAcl {
  var access: [UInt8]?
  var defaults: [UInt8]?
}

extension Store {
  private func acl(_ kind: AclKind, of number: InodeNumber) throws(FSError) -> Acl? {
    guard let bytes = try kind.withName({ (name) throws(FSError) in try storedXattr(name, of: number) }) else {
      return nil
    }
    // As long as `setAcl` takes them: a transaction that inherits or changes one has room for no more.
    guard bytes.count <= Block.size, let acl = bytes.withUnsafeBytes({ Acl($0) }) else {
      throw .corrupt(structure: .xattrRecord, block: number)
    }
    return acl
  }

  private func store(_ bytes: [UInt8], _ kind: AclKind, of number: InodeNumber) throws(FSError) {
    try kind.withName { (name) throws(FSError) in
      try withEncoded(
        bytes.count, { p in bytes.withUnsafeBytes { p.copyMemory(from: $0.baseAddress!, byteCount: $0.count) } }
      ) {
        (value) throws(FSError) in try storeXattr(name, of: number, value)
      }
    }
  }

  /// setxattr of a list. An access list that the mode can express is not stored.
  func setAcl(
    _ kind: AclKind, of number: InodeNumber, _ value: UnsafeRawBufferPointer, dropSetGroupID: Bool,
    _ record: inout InodeRecord
  ) throws(FSError) {
    // The kernel's FUSE passes no longer ones; a transaction that makes an inode must hold two inherited lists.
    guard value.count <= Block.size else { throw .argumentTooLong }
    guard let acl = Acl(value) else { throw .invalid(.aclFormat) }
    if record.fileType == .symlink { throw .unsupported }
    switch kind {
    case .access:
      record.mode = record.mode & ~0o777 | acl.mode
      if dropSetGroupID { record.mode &= ~0o2000 }
      if acl.isMinimal {
        _ = try kind.withName { (name) throws(FSError) in try deleteXattr(name, of: number) }
      } else {
        try store(acl.bytes, kind, of: number)
      }
    case .defaults:
      guard record.isDirectory else { throw .accessDenied }
      try store(acl.bytes, kind, of: number)
    }
  }

  /// chmod keeps an access list in step.
  func chmodAcl(of number: InodeNumber, mode: UInt32) throws(FSError) {
    guard var acl = try acl(.access, of: number) else { return }
    acl.setMode(mode)
    try store(acl.bytes, .access, of: number)
  }

  /// What an inode made in `parent` inherits; without a default list the umask applies instead.
  func inheritedAcl(
    mode: inout UInt32, umask: UInt32, from parent: InodeNumber
  ) throws(FSError) -> InheritedAcl {
    if mode >> 12 == UInt32(FileType.symlink.rawValue) { return InheritedAcl() }
    guard var acl = try acl(.defaults, of: parent) else {
      mode &= ~(umask & 0o777)
      return InheritedAcl()
    }
    var inherited = InheritedAcl()
    if mode >> 12 == UInt32(FileType.directory.rawValue) { inherited.defaults = acl.bytes }
    acl.restrict(to: mode)
    mode = mode & ~0o777 | acl.mode
    if !acl.isMinimal { inherited.access = acl.bytes }
    return inherited
  }

  func putInheritedAcl(_ acl: InheritedAcl, _ number: InodeNumber) throws(FSError) {
    if let bytes = acl.access { try store(bytes, .access, of: number) }
    if let bytes = acl.defaults { try store(bytes, .defaults, of: number) }
  }
}
