import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

/// What a random workload knows of its volume: few names, many operations, errors ignored.
struct World {
  private var inodes: [InodeNumber] = []
  private var held: [InodeNumber] = []
  private static let caller = Credentials(uid: 0, gid: 0, pid: 1)

  mutating func learn(_ inode: InodeNumber) { inodes.append(inode) }

  mutating func step(_ store: Store, _ random: inout Seeded) {
    do throws(FSError) { try attempt(store, &random) } catch {}
  }

  private func directory(_ store: Store, _ random: inout Seeded) -> InodeNumber {
    guard random.next() % 3 != 0, let some = inodes.randomElement(using: &random),
      let found = try? store.attributes(of: some), found.record.isDirectory
    else { return RootDirectory.inode }
    return some
  }

  private mutating func attempt(_ store: Store, _ random: inout Seeded) throws(FSError) {
    let parent = directory(store, &random)
    let name = "name \(random.next() % 40)"
    let other = "name \(random.next() % 40)"
    let inode = inodes.randomElement(using: &random) ?? RootDirectory.inode
    let offset = random.next() % 3 == 0 ? random.next() % (1 << 40) : random.next() % 200_000
    let length = random.next() % 100_000
    switch random.next() % 26 {
    case 0...4:
      let type: UInt32 = [0o100000, 0o100000, 0o040000, 0o010000, 0o140000, 0o020000].randomElement(using: &random)!
      inodes.append(
        try store.make(NewInode(mode: type | 0o644, umask: 0, device: 5), named: name, in: parent, by: Self.caller))
    case 5:
      let target = [UInt8](repeating: 0x61, count: 1 + Int(random.next() % 4095))
      inodes.append(try store.link(to: target, named: name, in: parent, by: Self.caller))
    case 6...10:
      try store.write(inode, [UInt8](repeating: 1, count: Int(length)), at: offset)
    case 11:
      var changes = AttributeChanges()
      changes.size = random.next() % 2 == 0 ? offset : length
      _ = try store.setAttributes(changes, of: inode, handle: nil, by: Self.caller)
    case 12, 13:
      let modes: [AllocateMode] = [[], .keepSize, [.punchHole, .keepSize], .zeroRange, [.zeroRange, .keepSize]]
      try store.allocate(
        inode, mode: modes.randomElement(using: &random)!, offset: offset, length: length + 1,
        handle: nil,
        by: Self.caller)
    case 14:
      if random.next() % 2 == 0, let found = try? store.find(name, in: parent) {
        store.retain(found)
        held.append(found)
      }
      try store.unlink(named: name, in: parent)
    case 15: try store.removeDirectory(named: name, in: parent)
    case 16, 17:
      try store.rename(
        name, in: parent, to: other, in: directory(store, &random),
        flags: [[], .noReplace, .exchange].randomElement(using: &random)!)
    case 18: try store.link(inode, named: name, in: parent)
    case 19, 20:
      let value = [UInt8](repeating: 2, count: Int(random.next() % 5000))
      try store.setXattr("user.\(random.next() % 6)", of: inode, value, by: Self.caller)
    case 21: try store.removeXattr("user.\(random.next() % 6)", of: inode)
    case 22:
      if !held.isEmpty { store.release(held.removeLast()) }
      let unnamed = try store.makeUnnamed(NewInode(mode: 0o100644, umask: 0), in: parent, by: Self.caller)
      store.retain(unnamed.inode)
      held.append(unnamed.inode)
      if random.next() % 2 == 0 { try store.link(unnamed.inode, named: name, in: parent) }
    case 23:
      let caller = Credentials(uid: UInt32(random.next() % 3), gid: 0, pid: 1)
      let name = "s\(random.next() % 3)"
      if random.next() % 2 == 0 {
        _ = try store.seal(
          SealRequest(lifetime: .persistent, name: name, taker: caller, preparation: .asIs, command: "test"),
          createOnly: false, of: inode)
      } else {
        try store.unseal(.named(uid: caller.uid, name: name), of: inode, by: caller)
      }
    default:
      let from = inodes.randomElement(using: &random) ?? inode
      _ = try store.copyRange(
        from: from, at: offset, to: inode, at: random.next() % 300_000, length: length,
        dropPrivileges: false, handle: nil, by: Self.caller)
    }
  }
}
