import HoldfastBase
import HoldfastFormat
import HoldfastStore

/// The engine's operations by arrays of bytes.
func withBytes<Result>(
  _ bytes: [UInt8], _ body: (UnsafeRawBufferPointer) throws(FSError) -> Result
) throws(FSError) -> Result {
  let outcome = bytes.withUnsafeBytes { raw -> Swift.Result<Result, FSError> in
    do throws(FSError) { return .success(try body(raw)) } catch { return .failure(error) }
  }
  return try outcome.get()
}

extension Store {
  func find(_ name: [UInt8], in parent: InodeNumber) throws(FSError) -> InodeNumber {
    try withBytes(name) { raw throws(FSError) in try lookup(raw, in: parent).inode }
  }

  func make(
    _ mode: UInt32, _ name: [UInt8], in parent: InodeNumber, device: UInt64 = 0, by caller: Credentials
  ) throws(FSError) -> InodeNumber {
    try withBytes(name) { raw throws(FSError) in
      try make(NewInode(mode: mode, umask: 0, device: device), raw, in: parent, by: caller).inode
    }
  }

  func symlink(
    to target: [UInt8], _ name: [UInt8], in parent: InodeNumber, by caller: Credentials
  ) throws(FSError) -> InodeNumber {
    try withBytes(target) { target throws(FSError) in
      try withBytes(name) { raw throws(FSError) in try makeSymlink(to: target, raw, in: parent, by: caller).inode }
    }
  }

  func link(_ inode: InodeNumber, as name: [UInt8], in parent: InodeNumber) throws(FSError) {
    try withBytes(name) { raw throws(FSError) in _ = try link(inode, as: raw, in: parent) }
  }

  func unlink(_ name: [UInt8], in parent: InodeNumber) throws(FSError) {
    try withBytes(name) { raw throws(FSError) in try unlink(raw, in: parent) }
  }

  func setXattr(_ name: String, of inode: InodeNumber, to value: [UInt8], by caller: Credentials) throws(FSError) {
    try withBytes(Array(name.utf8)) { raw throws(FSError) in
      try withBytes(value) { value throws(FSError) in
        try setXattr(raw, of: inode, to: value, mode: .any, by: caller)
      }
    }
  }

  func write(_ inode: InodeNumber, _ data: [UInt8], at offset: UInt64, by caller: Credentials) throws(FSError) {
    try withBytes(data) { raw throws(FSError) in
      _ = try write(inode, raw, at: offset, append: false, dropPrivileges: false, handle: nil, by: caller)
    }
  }

  func truncate(_ inode: InodeNumber, to size: UInt64, by caller: Credentials) throws(FSError) {
    var changes = AttributeChanges()
    changes.size = size
    _ = try setAttributes(changes, of: inode, handle: nil, by: caller)
  }
}
