/// HOLDFAST_IOC_REVOKE, _SYNC, _REMOUNT: what administrators do to a mount.

import CHoldfast
import Glibc

/// Which requests to revoke.
public struct Revocation: Equatable, Sendable {
  public enum Target: Equatable, Sendable {
    /// The open file's.
    case file
    /// Of the inode with this number, unlinked ones too.
    case inode(UInt64)
    /// Of every file of the mount.
    case allFiles
  }

  public var target: Target
  /// Only requests of this name.
  public var name: String?
  /// Only requests held by this process.
  public var pid: Int32?

  public init(_ target: Target, name: String? = nil, pid: Int32? = nil) {
    self.target = target
    self.name = name
    self.pid = pid
  }
}

extension OpenFile {
  /// Fences, then releases requests; their number. Administrators only.
  public func revoke(_ revocation: Revocation) throws(ClientError) -> UInt64 {
    var argument = holdfast_revoke()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    switch revocation.target {
    case .file: break
    case .inode(let number):
      argument.flags |= HOLDFAST_REVOKE_BY_INODE
      argument.inode = number
    case .allFiles: argument.flags |= HOLDFAST_REVOKE_ALL_FILES
    }
    if let name = revocation.name {
      guard SealRequest.isValid(name: name) else { throw ClientError(.revoke, path: path, errno: EINVAL) }
      argument.flags |= HOLDFAST_REVOKE_BY_NAME
      withUnsafeMutableBytes(of: &argument.name) { $0.copyBytes(from: name.utf8) }
    }
    if let pid = revocation.pid {
      argument.flags |= HOLDFAST_REVOKE_BY_PID
      argument.pid = pid
    }
    let code = control(holdfast_ioc_revoke, &argument)
    guard code == 0 else { throw ClientError(.revoke, path: path, errno: code) }
    return argument.revoked
  }

  /// Everything so far on this file's mount is durable when it returns.
  public func syncMount() throws(ClientError) {
    var argument = holdfast_sync()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    let code = control(holdfast_ioc_sync, &argument)
    guard code == 0 else { throw ClientError(.sync, path: path, errno: code) }
  }

  /// Passes Holdfast's own mount options, comma-separated, to the daemon. Administrators only.
  public func remount(options: String) throws(ClientError) {
    guard options.utf8.count < HOLDFAST_OPTIONS_BYTES, !options.utf8.contains(0) else {
      throw ClientError(.remount, path: path, errno: E2BIG)
    }
    var argument = holdfast_remount()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    withUnsafeMutableBytes(of: &argument.options) { $0.copyBytes(from: options.utf8) }
    let code = control(holdfast_ioc_remount, &argument)
    guard code == 0 else { throw ClientError(.remount, path: path, errno: code) }
  }
}
