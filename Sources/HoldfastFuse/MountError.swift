/// Why a mount could not be made, for the person who asked for it.

import Glibc
import HoldfastBase

public enum MountError: Error, Equatable, CustomStringConvertible {
  case noDevice(errno: Int32)
  case mountPoint(path: String, errno: Int32)
  case notDirectory(path: String)
  case refused(path: String, errno: Int32)
  /// The mount helper said no; what it said.
  case helper(path: String, message: String)
  /// libfuse could not start, or the kernel did not accept the session.
  case session
  /// No descriptors or threads for what watches over seals.
  case resources
  case volume(FSError)

  public var description: String {
    switch self {
    case .noDevice(let code):
      "/dev/fuse: \(String(cString: strerror(code)))"
        + (code == ENOENT || code == ENODEV ? ": the kernel's fuse module is not loaded (modprobe fuse)" : "")
    case .mountPoint(let path, let code): "\(path): \(String(cString: strerror(code)))"
    case .notDirectory(let path): "\(path): not a directory"
    case .refused(let path, let code): "mount on \(path): \(String(cString: strerror(code)))"
    case .helper(let path, let message): "mount on \(path): \(message)"
    case .session: "the kernel and libfuse did not agree on a session"
    case .resources: "no file descriptors or threads left for the daemon (see ulimit)"
    case .volume(let error): error.description
    }
  }
}
