/// Memory of a process that simulates.

import CPlatform

enum ProcessMemory {
  /// Volumes are mounted by the ten thousand, each with buffers of megabytes: taking those from the kernel anew every
  /// time, page by page, costs more than the mount.
  static func keepFreed() { holdfast_keep_freed_memory() }
}
