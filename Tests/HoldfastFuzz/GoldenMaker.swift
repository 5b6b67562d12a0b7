/// Makes the golden images through the engine alone.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

enum GoldenMaker {
  enum Failure: Error { case notReached(String) }

  /// Names below collide under this seed (found by trying 2^28 names).
  private static let hashSeed: UInt64 = 0x676f_6c64
  private static let collidingNames = [("n08bd4e0", "n144a233"), ("n0e6593b", "n2184cda"), ("n81a9676", "ncef5a24")]
  private static let collidingXattrs = [("user.c002a4af", "user.c0375eac"), ("user.c017647d", "user.c03a53bd")]
  private static let root = Credentials(uid: 0, gid: 0, pid: 1)

  private static var options: StoreOptions {
    var options = StoreOptions()
    options.backgroundThread = false
    options.cacheBytes = 8 << 20
    return options
  }

  /// The image's bytes: `GoldenImages.names` says which.
  static func make(_ name: String) throws -> [UInt8] {
    let memory = ImageMemory([UInt8](repeating: 0, count: Int(Geometry.minimumBlocks) * Block.size))
    let device = FuzzDevice(memory)
    let format = FormatOptions(
      label: "golden \(name)",
      id: FilesystemID(high: 0x686f_6c64_6661_4173, low: 0x8000_0000_0000_0000 | UInt64(name.utf8.count)),
      hashSeed: hashSeed)
    try Store.format(device, options: format)
    let store = try Store(mounting: device, options: options)
    try populate(store)
    switch name {
    case "v1-deep":
      try deepen(store)
      try store.unmount()
    case "v1-unclean":
      // Twice mounted, so that tree and journal both have something to say.
      try store.unmount()
      return try cutOff(memory, device, try Store(mounting: device, options: options))
    default: try store.unmount()
    }
    return memory.contents()
  }

  private static func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

  private static func file(_ store: Store, _ name: String, in parent: InodeNumber) throws -> InodeNumber {
    try store.make(0o100644, bytes(name), in: parent, by: root)
  }

  // MARK: One of everything

  private static func populate(_ store: Store) throws {
    let top = RootDirectory.inode
    let bystander = try store.make(0o100644, Bystander.name, in: top, by: root)
    try store.write(bystander, (0..<24_576).map { UInt8(truncatingIfNeeded: $0 >> 8) }, at: 0, by: root)
    let files = try store.make(0o040755, bytes("files"), in: top, by: root)
    try makeFiles(store, in: files)
    try makeSpecials(store)
    try makeXattrs(store, in: files)
    var parent = try store.make(0o042775, bytes("deep"), in: top, by: root)
    for level in 1...12 { parent = try store.make(0o040700, bytes("level \(level)"), in: parent, by: root) }
    _ = try file(store, String(repeating: "n", count: Limits.nameBytes), in: parent)
    let colliding = try store.make(0o040755, bytes("colliding"), in: top, by: root)
    for (first, second) in collidingNames {
      for name in [first, second] { _ = try file(store, name, in: colliding) }
    }
    // A gap in a group: the lower place is free again.
    try store.unlink(bytes(collidingNames[2].0), in: colliding)
    let many = try store.make(0o040755, bytes("many"), in: top, by: root)
    for number in 0..<40 { _ = try file(store, "file \(number)", in: many) }
    try store.syncAll()
    try seal(store, in: files)
  }

  private static func makeFiles(_ store: Store, in files: InodeNumber) throws {
    _ = try file(store, "empty", in: files)
    let plain = try file(store, "plain", in: files)
    try store.write(plain, [UInt8](repeating: 0x70, count: 10_000), at: 0, by: root)
    // Pieces in turn, so that neither lies in one.
    let pieces = try [file(store, "pieces", in: files), file(store, "other pieces", in: files)]
    for number in 0..<12 {
      for inode in pieces {
        try store.write(inode, [UInt8](repeating: UInt8(number), count: 4096), at: UInt64(number) * 12_288, by: root)
      }
    }
    let sparse = try file(store, "sparse", in: files)
    try store.write(sparse, [1, 2, 3], at: 1 << 40, by: root)
    try store.allocate(sparse, mode: [], offset: 1 << 20, length: 40_000, handle: nil, by: root)
    let preallocated = try file(store, "preallocated", in: files)
    try store.write(preallocated, [UInt8](repeating: 9, count: 5000), at: 0, by: root)
    try store.allocate(preallocated, mode: .keepSize, offset: 0, length: 100_000, handle: nil, by: root)
    let linked = try file(store, "linked", in: files)
    for name in ["linked again", "and again"] { try store.link(linked, as: bytes(name), in: RootDirectory.inode) }
    let immutable = try file(store, "immutable", in: files)
    try store.setFlags([.immutable, .noDump], of: immutable, by: Credentials(uid: 0, gid: 0, pid: 1))
    let appendOnly = try file(store, "append-only", in: files)
    try store.setFlags([.appendOnly, .synchronous], of: appendOnly, by: Credentials(uid: 0, gid: 0, pid: 1))
  }

  private static func makeSpecials(_ store: Store) throws {
    let specials = try store.make(0o041777, bytes("specials"), in: RootDirectory.inode, by: root)
    _ = try store.make(0o020666, bytes("null"), in: specials, device: 0x103, by: root)
    _ = try store.make(0o060660, bytes("disk"), in: specials, device: 0x800, by: Credentials(uid: 0, gid: 6, pid: 1))
    _ = try store.make(0o010644, bytes("fifo"), in: specials, by: root)
    _ = try store.make(0o140755, bytes("socket"), in: specials, by: root)
    _ = try store.symlink(to: bytes("../files/plain"), bytes("short"), in: specials, by: root)
    let long = [UInt8](repeating: UInt8(ascii: "t"), count: Limits.symlinkBytes)
    _ = try store.symlink(to: long, bytes("long"), in: specials, by: root)
  }

  private static func makeXattrs(_ store: Store, in files: InodeNumber) throws {
    let inode = try file(store, "attributes", in: files)
    try store.setXattr("user.empty", of: inode, to: [], by: root)
    try store.setXattr("user.short", of: inode, to: bytes("value"), by: root)
    try store.setXattr("user.pieces", of: inode, to: [UInt8](repeating: 0x78, count: 5000), by: root)
    for (first, second) in collidingXattrs {
      try store.setXattr(first, of: inode, to: bytes(second), by: root)
      try store.setXattr(second, of: inode, to: [UInt8](repeating: 0x79, count: 2000), by: root)
    }
    try store.setXattr("system.posix_acl_access", of: inode, to: acl(users: [1000]), by: root)
    let folder = try store.make(0o040755, bytes("with a default list"), in: files, by: root)
    try store.setXattr("system.posix_acl_default", of: folder, to: acl(users: [1000, 1001, 1002]), by: root)
    _ = try file(store, "inherits", in: folder)
    _ = try store.make(0o040755, bytes("inherits too"), in: folder, by: root)
  }

  private static func acl(users: [UInt32]) -> [UInt8] {
    var list = [UInt8](repeating: 0, count: 4)
    list[0] = 2
    func add(_ tag: UInt8, _ permissions: UInt8, _ id: UInt32) {
      list += [tag, 0, permissions, 0] + withUnsafeBytes(of: id.littleEndian) { Array($0) }
    }
    add(1, 7, .max)
    for user in users { add(2, 6, user) }
    add(4, 5, .max)
    add(16, 7, .max)
    add(32, 5, .max)
    return list
  }

  private static func seal(_ store: Store, in files: InodeNumber) throws {
    let inode = try file(store, "sealed", in: files)
    try store.write(inode, [UInt8](repeating: 0x73, count: 20_000), at: 0, by: root)
    for (uid, name) in [(0, ""), (0, "backup"), (1000, "mirror")] as [(UInt32, String)] {
      let taker = Credentials(uid: uid, gid: uid, pid: 1)
      let request = SealRequest(lifetime: .persistent, name: name, taker: taker, command: "golden")
      _ = try store.seal(request, createOnly: true, of: inode)
    }
  }

  // MARK: A deep tree

  /// Records of a kibibyte fill leaves fast, and pack to nothing.
  private static func deepen(_ store: Store) throws {
    let links = try store.make(0o040755, bytes("links"), in: RootDirectory.inode, by: root)
    let target = [UInt8](repeating: UInt8(ascii: "d"), count: 4 * Key.pieceBytes - 1)
    for number in 0..<100 {
      _ = try store.symlink(to: target, bytes("link \(number)"), in: links, by: root)
      if number % 40 == 39 { try store.syncAll() }
    }
  }

  // MARK: Cut off

  /// Work a crash interrupts: unlinked files in use, a truncation half done, freed blocks not free yet, all of it in
  /// the journal. The image as it is when a commit has just put the truncation's intent there.
  private static func cutOff(_ memory: ImageMemory, _ device: FuzzDevice, _ store: Store) throws -> [UInt8] {
    let top = RootDirectory.inode
    for number in 0..<3 {
      let inode = try file(store, "unlinked \(number)", in: top)
      try store.write(inode, [UInt8](repeating: 5, count: 12_000), at: 0, by: root)
      store.retain(inode)
      try store.unlink(bytes("unlinked \(number)"), in: top)
    }
    let files = try store.find(bytes("files"), in: top)
    let plain = try store.find(bytes("plain"), in: files)
    try store.truncate(plain, to: 4096, by: root)
    try store.syncAll()
    let cut = try (0..<6).map { number in
      let inode = try file(store, "cut \(number)", in: top)
      for piece in 0..<40 { try store.write(inode, [7], at: UInt64(piece) * 8192, by: root) }
      return inode
    }
    try store.syncAll()
    var snapshot: [UInt8]?
    device.onBarrier = {
      guard snapshot == nil, let structure = ImageStructure(memory, byteCount: device.byteCount) else { return }
      let isCut = structure.journal.last?.mutations.contains { key, value in
        key.space == .orphan && value?.first == OrphanRecord.Kind.truncating.rawValue
      }
      if isCut == true { snapshot = memory.contents() }
    }
    // A batch that is nearly full commits before one of the truncation's next steps.
    for inode in cut {
      try store.setXattr("user.filler", of: inode, to: [UInt8](repeating: 6, count: 62_000), by: root)
    }
    try store.setXattr("user.more", of: cut[0], to: [UInt8](repeating: 6, count: 28_700), by: root)
    for inode in cut where snapshot == nil { try store.truncate(inode, to: 0, by: root) }
    device.onBarrier = nil
    guard let snapshot else { throw Failure.notReached("a commit within a truncation") }
    return snapshot
  }
}
