import HoldfastBase
import HoldfastCheck
import HoldfastDevice
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

/// A volume on a memory device, with calls by strings and arrays.
struct Volume {
  let device: MemoryDevice
  var store: Store
  static let root = RootDirectory.inode
  static let user = Credentials(uid: 1000, gid: 1000, pid: 1)

  let options: StoreOptions

  init(mebibytes: Int = 64, room: Int = 0, options: StoreOptions = Volume.options) throws {
    self.options = options
    device = MemoryDevice(mebibytes: mebibytes, room: room)
    try Store.format(
      device, options: FormatOptions(id: FilesystemID(high: 1, low: 2), hashSeed: 7, uid: 1000, gid: 1000))
    store = try Store(mounting: device, options: options)
  }

  /// Mounted from a copy of an image.
  init(of image: [UInt8]) throws {
    options = Volume.options
    device = MemoryDevice(mebibytes: image.count >> 20)
    device.memory.bytes.copyBytes(from: image)
    store = try Store(mounting: device, options: options)
  }

  static var options: StoreOptions {
    var options = StoreOptions()
    options.backgroundThread = false
    options.cacheBytes = 4 << 20
    return options
  }

  mutating func remount() throws {
    try store.unmount()
    store = try Store(mounting: device, options: options)
  }

  /// As after a power cut that lost nothing written.
  mutating func crash() throws { store = try Store(mounting: device, options: options) }

  /// What an independent reader has to say of the image.
  func check() -> CheckReport {
    var checker = Checker(device: device)
    return checker.run()
  }

  func create(_ name: String, in parent: InodeNumber = root, mode: UInt32 = 0o100644) throws -> InodeNumber {
    try bytes(name) { try store.make(NewInode(mode: mode, umask: 0), $0, in: parent, by: Volume.user).inode }
  }

  func makeDirectory(_ name: String, in parent: InodeNumber = root) throws -> InodeNumber {
    try create(name, in: parent, mode: 0o040755)
  }

  func lookup(_ name: String, in parent: InodeNumber = root) throws -> InodeNumber {
    try bytes(name) { try store.lookup($0, in: parent).inode }
  }

  func unlink(_ name: String, in parent: InodeNumber = root) throws {
    try bytes(name) { try store.unlink($0, in: parent) }
  }

  func rename(_ name: String, to newName: String, flags: RenameFlags = []) throws {
    try bytes(name) { old in
      try bytes(newName) { try store.rename(old, in: Volume.root, to: $0, in: Volume.root, flags: flags) }
    }
  }

  func removeDirectory(_ name: String, in parent: InodeNumber = root) throws {
    try bytes(name) { try store.removeDirectory($0, in: parent) }
  }

  func makeSymlink(_ name: String, to targetBytes: Int) throws {
    try bytes(name) { name in
      try [UInt8](repeating: 0x61, count: targetBytes).withUnsafeBytes {
        _ = try store.makeSymlink(to: $0, name, in: Volume.root, by: Volume.user)
      }
    }
  }

  /// A file without a name, let go at once.
  func makeUnnamed() throws {
    let new = NewInode(mode: 0o100644, umask: 0)
    let inode = try store.makeUnnamed(new, in: Volume.root, by: Volume.user).inode
    store.retain(inode)
    store.release(inode)
  }

  func link(_ inode: InodeNumber, _ name: String) throws {
    try bytes(name) { _ = try store.link(inode, as: $0, in: Volume.root) }
  }

  func setXattr(_ name: String, _ value: [UInt8], of inode: InodeNumber) throws {
    try bytes(name) { name in
      try value.withUnsafeBytes { try store.setXattr(name, of: inode, to: $0, mode: .any, by: Volume.user) }
    }
  }

  func removeXattr(_ name: String, of inode: InodeNumber) throws {
    try bytes(name) { try store.removeXattr($0, of: inode) }
  }

  func write(_ inode: InodeNumber, _ data: [UInt8], at offset: UInt64 = 0, append: Bool = false) throws {
    try data.withUnsafeBytes {
      _ = try store.write(inode, $0, at: offset, append: append, dropPrivileges: false, handle: nil, by: Volume.user)
    }
  }

  func read(_ inode: InodeNumber, _ count: Int, at offset: UInt64 = 0) throws -> [UInt8] {
    var data = [UInt8](repeating: 0xee, count: count)
    let got = try data.withUnsafeMutableBytes { try store.read(inode, into: $0, at: offset) }
    return Array(data[..<got])
  }

  func truncate(_ inode: InodeNumber, _ size: UInt64) throws {
    var changes = AttributeChanges()
    changes.size = size
    _ = try store.setAttributes(changes, of: inode, handle: nil, by: Volume.user)
  }

  func allocate(_ inode: InodeNumber, _ mode: AllocateMode, _ offset: UInt64, _ length: UInt64) throws {
    try store.allocate(inode, mode: mode, offset: offset, length: length, handle: nil, by: Volume.user)
  }

  func setXattr(_ name: String, of inode: InodeNumber, to value: [UInt8]) throws {
    try bytes(name) { name in
      try value.withUnsafeBytes { try store.setXattr(name, of: inode, to: $0, mode: .any, by: Volume.user) }
    }
  }

  func xattr(_ name: String, of inode: InodeNumber) throws -> [UInt8] {
    try bytes(name) { try store.xattr($0, of: inode) }
  }

  func size(_ inode: InodeNumber) throws -> UInt64 { try store.attributes(of: inode).record.size }

  func seal(_ inode: InodeNumber, _ preparation: SealPreparation = .verify, name: String = "") throws {
    let request = SealRequest(lifetime: .name, name: name, taker: Volume.user, preparation: preparation)
    _ = try store.seal(request, createOnly: false, of: inode)
  }

  func unseal(_ inode: InodeNumber, name: String = "") throws {
    try store.unseal(.named(uid: Volume.user.uid, name: name), of: inode, by: Volume.user)
  }

  func names(in parent: InodeNumber = root) throws -> [String] {
    var result: [String] = []
    try store.readDirectory(parent, after: 0) {
      result.append(String(decoding: $0.name, as: UTF8.self))
      return true
    }
    return result
  }

  private func bytes<Result>(_ name: String, _ body: (UnsafeRawBufferPointer) throws -> Result) throws -> Result {
    try Array(name.utf8).withUnsafeBytes { try body($0) }
  }
}

/// `count` bytes that tell their place.
func pattern(_ count: Int, seed: UInt8 = 1) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 8) &+ seed }
}
