/// Images that somebody stores into directly: what would write over blocks, or give them to others, leaves those alone.

import HoldfastBase
import HoldfastDevice

public enum ImageLeases {
  /// - Throws: when an inode of the image at `path` is leased; the message names the first.
  public static func refuse(_ device: ImageFile, path: String, exitStatus: Int32 = 1) throws(CommandError) {
    let first: Lease?
    do throws(FSError) {
      first = try device.leases().first
    } catch {
      throw CommandError(path, "\(error)", exitStatus: exitStatus)
    }
    guard let first else { return }
    let holder = first.pid > 0 ? "process \(first.pid)" : "a process"
    throw CommandError(
      path, "inode \(first.inodes.lowerBound) is leased: \(holder) may store into its blocks directly; end it first",
      exitStatus: exitStatus)
  }
}
