/// Leases: locks on the image by which whoever maps blocks of it directly is known to live, whatever happens to the
/// daemon (docs/decisions/0007-leases.md).

import HoldfastBase

/// One lock on lease bytes.
public struct Lease: Equatable, Sendable {
  /// The byte of the image that stands for an inode is this and its number. No image reaches there.
  public static let byteOffset: UInt64 = 1 << 62
  /// All that can be leased: every inode number there can be (FORMAT.md, Keys).
  public static let everyInode: ClosedRange<InodeNumber> = 1...(1 << 56) - 1

  /// As far as was asked.
  public var inodes: ClosedRange<InodeNumber>
  /// Of the locker; 0 where the kernel does not tell (it never does of open-file-description locks).
  public var pid: Int32

  public init(inodes: ClosedRange<InodeNumber>, pid: Int32 = 0) {
    self.inodes = inodes
    self.pid = pid
  }
}

extension BlockDevice {
  /// Whether anybody leases this inode. Numbers no inode can have are nobody's.
  public func isLeased(_ inode: InodeNumber) throws(FSError) -> Bool {
    guard Lease.everyInode.contains(inode) else { return false }
    return try lease(within: inode...inode) != nil
  }

  /// Each question takes as long as there are locks: the sum of this many is half a second.
  private static var mostLeases: Int { 4096 }

  /// Every lease there is, by inode, each inode once. One question when there is none, two more for each there is. Of more
  /// locks than somebody could mean, what lies between those found counts as leased.
  public func leases() throws(FSError) -> [Lease] {
    var found: [Lease] = []
    var unasked = [Lease.everyInode]
    while let inodes = unasked.popLast() {
      if found.count >= Self.mostLeases {
        found.append(Lease(inodes: inodes))
        continue
      }
      guard let lease = try lease(within: inodes) else { continue }
      found.append(lease)
      if lease.inodes.lowerBound > inodes.lowerBound {
        unasked.append(inodes.lowerBound...lease.inodes.lowerBound - 1)
      }
      if lease.inodes.upperBound < inodes.upperBound {
        unasked.append(lease.inodes.upperBound + 1...inodes.upperBound)
      }
    }
    return found.sorted { $0.inodes.lowerBound < $1.inodes.lowerBound }
  }
}
