/// What is done with a mounted volume: everything in it is looked at, then much of it is changed. Errors are expected;
/// which ones came is remembered. The bystander is left alone.

import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastSimulation
import HoldfastStore

struct Journey {
  let store: Store
  let bystander: InodeNumber
  var random: SeededRandom
  /// Names of errors met, counted.
  private(set) var errors: [String: Int] = [:]
  /// The first damage an operation met.
  private(set) var damage: FSError?
  private var inodes: [InodeNumber] = []
  private var names: [(parent: InodeNumber, name: [UInt8])] = []
  private var held: [InodeNumber] = []
  static let caller = Credentials(uid: 0, gid: 0, pid: 1)

  /// Inodes looked at by one walk: a directory that holds itself ends too.
  private static let maximumInodes = 400

  init(_ store: Store, bystander: InodeNumber, seed: UInt64) {
    self.store = store
    self.bystander = bystander
    random = SeededRandom(seed: seed)
  }

  mutating func attempt(_ body: () throws(FSError) -> Void) {
    do throws(FSError) {
      try body()
    } catch {
      note(error)
    }
  }

  private mutating func note(_ error: FSError) {
    errors[Self.name(error), default: 0] += 1
    if case .corrupt = error, damage == nil { damage = error }
  }

  /// The error's case, with the structure where there is one.
  static func name(_ error: FSError) -> String {
    if case .corrupt(let structure, _) = error { return "corrupt.\(structure.rawValue)" }
    return "\(error)".split(separator: " ").prefix(4).joined(separator: " ")
  }

  // MARK: Looking

  /// Meets every inode. Not `looking`, only names are read: the first damage stops all writing, and so would a look at
  /// everything before.
  mutating func walk(looking: Bool = true) {
    let store = self.store
    inodes = [RootDirectory.inode]
    names = []
    var seen: Set<InodeNumber> = [RootDirectory.inode]
    var open = [RootDirectory.inode]
    while let directory = open.popLast(), seen.count < Self.maximumInodes {
      var entries: [(inode: InodeNumber, type: FileType, name: [UInt8])] = []
      attempt { () throws(FSError) in
        try store.readDirectory(directory, after: 0) {
          entries.append(($0.inode, $0.type, Array($0.name)))
          return entries.count < Self.maximumInodes
        }
      }
      for entry in entries {
        if looking { attempt { () throws(FSError) in _ = try store.find(entry.name, in: directory) } }
        if entry.name != [0x2e], entry.name != [0x2e, 0x2e] { names.append((directory, entry.name)) }
        guard seen.insert(entry.inode).inserted else { continue }
        inodes.append(entry.inode)
        if entry.type == .directory { open.append(entry.inode) }
        if looking { look(at: entry.inode) }
      }
    }
    _ = store.usage
    _ = store.statistics
    _ = store.seals.allHoldersJSON()
  }

  private mutating func look(at inode: InodeNumber) {
    let store = self.store
    var size: UInt64 = 0
    attempt { () throws(FSError) in size = try store.attributes(of: inode).record.size }
    attempt { () throws(FSError) in _ = try store.readSymlink(inode) }
    var list: [UInt8] = []
    attempt { () throws(FSError) in list = try store.listXattrs(of: inode) }
    for name in list.split(separator: 0).prefix(20) {
      attempt { () throws(FSError) in
        try withBytes(Array(name)) { raw throws(FSError) in _ = try store.xattr(raw, of: inode) }
      }
    }
    var extents: [Extent] = []
    attempt { () throws(FSError) in extents = try store.map(of: inode, from: 0, limit: 100).extents }
    for offset in [0, size / 2, size &- 1] {
      attempt { () throws(FSError) in _ = try store.seekData(inode, from: offset) }
      attempt { () throws(FSError) in _ = try store.seekHole(inode, from: offset) }
    }
    var offsets: [UInt64] = [0, size &- 50, 1 << 40]
    for extent in extents.prefix(20) { offsets += [extent.logical, extent.logical &+ extent.length &- 100] }
    for offset in offsets {
      attempt { () throws(FSError) in
        var buffer = [UInt8](repeating: 0, count: 9000)
        let outcome = buffer.withUnsafeMutableBytes { raw -> Result<Int, FSError> in
          do throws(FSError) { return .success(try store.read(inode, into: raw, at: offset)) } catch {
            return .failure(error)
          }
        }
        _ = try outcome.get()
      }
    }
  }

  // MARK: Changing

  /// Any inode but the bystander.
  private mutating func anyInode() -> InodeNumber {
    let inode = inodes.isEmpty ? RootDirectory.inode : random.pick(inodes)
    return inode == bystander ? RootDirectory.inode : inode
  }

  /// A new name, or one that stands; never one that leads to the bystander.
  private mutating func anyName() -> (parent: InodeNumber, name: [UInt8]) {
    for _ in 0..<8 {
      let isNew = names.isEmpty || random.oneIn(2)
      let found = isNew ? (anyInode(), Array("new \(random.below(30))".utf8)) : random.pick(names)
      if (try? store.find(found.1, in: found.0)) != bystander { return found }
    }
    return (RootDirectory.inode, Array("new".utf8))
  }

  private mutating func offset() -> UInt64 {
    random.oneIn(8)
      ? random.pick([1 << 40, Limits.fileBytes, Limits.fileBytes - 4096, 1 << 62]) : UInt64(random.below(200_000))
  }

  mutating func change(steps: Int) {
    for _ in 0..<steps {
      do throws(FSError) {
        try step()
      } catch {
        note(error)
      }
    }
  }

  private mutating func step() throws(FSError) {
    switch random.below(34) {
    case 0...4: try makeSomething()
    case 5...11: try writeSomething()
    case 12...15: try removeSomething()
    case 16...19: try moveSomething()
    case 20...23: try describeSomething()
    case 24...27: try sealSomething()
    default: try keepHouse()
    }
  }

  private mutating func makeSomething() throws(FSError) {
    let (parent, name) = anyName()
    switch random.below(8) {
    case 0:
      let target = [UInt8](repeating: 0x61, count: 1 + random.below(Limits.symlinkBytes))
      inodes.append(try store.symlink(to: target, name, in: parent, by: Self.caller))
    case 1: try store.link(anyInode(), as: name, in: parent)
    case 2:
      let unnamed = try store.makeUnnamed(NewInode(mode: 0o100644, umask: 0), in: parent, by: Self.caller)
      store.retain(unnamed.inode)
      held.append(unnamed.inode)
      inodes.append(unnamed.inode)
    default:
      let type: UInt32 = random.pick([0o100000, 0o100000, 0o040000, 0o040000, 0o010000, 0o020000])
      inodes.append(try store.make(type | 0o6755, name, in: parent, device: 5, by: Self.caller))
    }
  }

  private mutating func writeSomething() throws(FSError) {
    let inode = anyInode()
    let (at, length) = (offset(), UInt64(1 + random.below(60_000)))
    switch random.below(8) {
    case 0, 1: try store.truncate(inode, to: random.oneIn(2) ? at : length, by: Self.caller)
    case 2, 3:
      let modes: [AllocateMode] = [
        [], .keepSize, [.punchHole, .keepSize], .zeroRange, [.zeroRange, .keepSize], .collapseRange,
      ]
      try store.allocate(
        inode, mode: random.pick(modes), offset: at, length: random.oneIn(8) ? Limits.fileBytes - at : length,
        handle: nil, by: Self.caller)
    case 4:
      _ = try store.copyRange(
        from: anyInode(), at: offset(), to: inode, at: at, length: length, dropPrivileges: true, handle: nil,
        by: Self.caller)
    case 5:
      store.opened(inode, writing: true)
      defer { store.closed(inode, handle: 9, writing: true) }
      try withBytes([UInt8](repeating: 2, count: Int(length))) { raw throws(FSError) in
        _ = try store.write(
          inode, raw, at: 0, append: true, dropPrivileges: true, handle: 9,
          by: Credentials(uid: 1000, gid: 1000, pid: 1))
      }
    default: try store.write(inode, [UInt8](repeating: 1, count: Int(length)), at: at, by: Self.caller)
    }
  }

  private mutating func removeSomething() throws(FSError) {
    let (parent, name) = anyName()
    if random.oneIn(3), let found = try? store.find(name, in: parent) {
      store.retain(found)
      held.append(found)
    }
    if random.oneIn(3) {
      try withBytes(name) { raw throws(FSError) in try store.removeDirectory(raw, in: parent) }
    } else {
      try store.unlink(name, in: parent)
    }
  }

  private mutating func moveSomething() throws(FSError) {
    let (parent, name) = anyName()
    let (newParent, newName) = anyName()
    let flags: RenameFlags = random.pick([[], [], .noReplace, .exchange, .exchange, .whiteout])
    try withBytes(name) { old throws(FSError) in
      try withBytes(newName) { new throws(FSError) in
        try store.rename(old, in: parent, to: new, in: newParent, flags: flags, by: Self.caller)
      }
    }
  }

  /// An access control list: owner, a user, group, mask, others.
  private static let acl: [UInt8] =
    [2, 0, 0, 0] + [1, 0, 7, 0, 255, 255, 255, 255] + [2, 0, 6, 0, 232, 3, 0, 0] + [4, 0, 5, 0, 255, 255, 255, 255]
    + [16, 0, 7, 0, 255, 255, 255, 255] + [32, 0, 5, 0, 255, 255, 255, 255]

  private mutating func describeSomething() throws(FSError) {
    let inode = anyInode()
    switch random.below(7) {
    case 0:
      let kind = random.oneIn(2) ? "access" : "default"
      try store.setXattr("system.posix_acl_\(kind)", of: inode, to: Self.acl, by: Self.caller)
    case 1:
      var changes = AttributeChanges()
      changes.mode = UInt32(random.below(0o10000))
      changes.uid = UInt32(random.below(3))
      changes.accessed = .at(Timestamp(seconds: .max, nanoseconds: 7))
      _ = try store.setAttributes(changes, of: inode, handle: nil, by: Self.caller)
    case 2:
      let name = Array("user.\(random.below(6))".utf8)
      try withBytes(name) { raw throws(FSError) in try store.removeXattr(raw, of: inode) }
    case 3:
      try withBytes(Array("security.capability".utf8)) { raw throws(FSError) in try store.removeXattr(raw, of: inode) }
    default:
      let value = [UInt8](repeating: 3, count: random.pick([0, 10, 1024, 5000, 65536]))
      try store.setXattr("user.\(random.below(6))", of: inode, to: value, by: Self.caller)
    }
  }

  private mutating func sealSomething() throws(FSError) {
    let inode = anyInode()
    let taker = Credentials(uid: UInt32(random.below(3)), gid: 0, pid: 1)
    let name = "s\(random.below(3))"
    switch random.below(6) {
    case 0: try store.unseal(.named(uid: taker.uid, name: name), of: inode, by: taker)
    case 1: _ = try store.revoke(RevokeSelection())
    case 2: try store.prepare(inode, offset: 0, byteCount: 0, handle: nil, by: Self.caller)
    default:
      let lifetime: SealLifetime = random.pick([.persistent, .name, .handle(9)])
      let request = SealRequest(
        lifetime: lifetime, name: name, taker: taker, ttlSeconds: random.oneIn(3) ? 60 : nil,
        preparation: random.pick([.verify, .fill, .asIs]), command: "fuzz")
      _ = try store.seal(request, createOnly: false, of: inode)
    }
  }

  private mutating func keepHouse() throws(FSError) {
    switch random.below(4) {
    case 0: if !held.isEmpty { store.release(held.removeLast()) }
    case 1: try store.housekeep()
    default: try store.syncAll()
    }
  }
}
