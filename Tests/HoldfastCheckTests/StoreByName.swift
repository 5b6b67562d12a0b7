import HoldfastBase
import HoldfastFormat
import HoldfastStore

/// The engine's operations by strings and arrays.
extension Store {
  func named<Result>(
    _ name: String, _ body: (UnsafeRawBufferPointer) throws(FSError) -> Result
  ) throws(FSError) -> Result {
    let bytes = Array(name.utf8)
    let outcome = bytes.withUnsafeBytes { raw -> Swift.Result<Result, FSError> in
      do throws(FSError) { return .success(try body(raw)) } catch { return .failure(error) }
    }
    return try outcome.get()
  }

  func find(_ name: String, in parent: InodeNumber) throws(FSError) -> InodeNumber {
    try named(name) { raw throws(FSError) in try lookup(raw, in: parent).inode }
  }

  func make(
    _ new: NewInode, named name: String, in parent: InodeNumber, by caller: Credentials
  ) throws(FSError) -> InodeNumber {
    try named(name) { raw throws(FSError) in try make(new, raw, in: parent, by: caller).inode }
  }

  func link(
    to target: [UInt8], named name: String, in parent: InodeNumber, by caller: Credentials
  ) throws(FSError) -> InodeNumber {
    try named(String(decoding: target, as: UTF8.self)) { target throws(FSError) in
      try named(name) { raw throws(FSError) in try makeSymlink(to: target, raw, in: parent, by: caller).inode }
    }
  }

  func link(_ inode: InodeNumber, named name: String, in parent: InodeNumber) throws(FSError) {
    try named(name) { raw throws(FSError) in _ = try link(inode, as: raw, in: parent) }
  }

  func unlink(named name: String, in parent: InodeNumber) throws(FSError) {
    try named(name) { raw throws(FSError) in try unlink(raw, in: parent) }
  }

  func removeDirectory(named name: String, in parent: InodeNumber) throws(FSError) {
    try named(name) { raw throws(FSError) in try removeDirectory(raw, in: parent) }
  }

  func rename(
    _ name: String, in parent: InodeNumber, to other: String, in newParent: InodeNumber, flags: RenameFlags
  ) throws(FSError) {
    try named(name) { old throws(FSError) in
      try named(other) { new throws(FSError) in try rename(old, in: parent, to: new, in: newParent, flags: flags) }
    }
  }

  func setXattr(
    _ name: String, of inode: InodeNumber, _ value: [UInt8], by caller: Credentials
  ) throws(FSError) {
    try named(name) { raw throws(FSError) in
      try named(String(decoding: value, as: UTF8.self)) { value throws(FSError) in
        try setXattr(raw, of: inode, to: value, mode: .any, by: caller)
      }
    }
  }

  func removeXattr(_ name: String, of inode: InodeNumber) throws(FSError) {
    try named(name) { raw throws(FSError) in try removeXattr(raw, of: inode) }
  }

  func write(_ inode: InodeNumber, _ data: [UInt8], at offset: UInt64) throws(FSError) {
    let outcome = data.withUnsafeBytes { raw -> Swift.Result<Void, FSError> in
      do throws(FSError) {
        _ = try write(
          inode, raw, at: offset, append: false, dropPrivileges: false, handle: nil,
          by: Credentials(uid: 0, gid: 0, pid: 1))
        return .success(())
      } catch { return .failure(error) }
    }
    try outcome.get()
  }
}
