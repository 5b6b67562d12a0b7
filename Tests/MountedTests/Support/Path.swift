/// A file's path, any bytes, and the system calls that take one.

import CMountedSupport
import Glibc

struct Path: ExpressibleByStringInterpolation, CustomStringConvertible {
  /// NUL-terminated.
  let bytes: [CChar]

  init(_ text: String) { bytes = text.utf8.map { CChar(bitPattern: $0) } + [0] }
  init(stringLiteral text: String) { self.init(text) }
  private init(bytes: [CChar]) { self.bytes = bytes }

  static func / (folder: Path, name: String) -> Path { folder / Array(name.utf8) }

  static func / (folder: Path, name: [UInt8]) -> Path {
    Path(bytes: folder.bytes.dropLast() + [CChar(UInt8(ascii: "/"))] + name.map { CChar(bitPattern: $0) } + [0])
  }

  var text: String { String(decoding: bytes.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self) }
  var description: String { text }

  // MARK: Names

  func makeDirectory(_ mode: mode_t = 0o755) throws(Errno) { try check(mkdir(bytes, mode)) }
  func removeDirectory() throws(Errno) { try check(rmdir(bytes)) }
  func unlink() throws(Errno) { try check(Glibc.unlink(bytes)) }
  func link(as other: Path) throws(Errno) { try check(Glibc.link(bytes, other.bytes)) }
  func makeNode(_ mode: mode_t, major: UInt32 = 0, minor: UInt32 = 0) throws(Errno) {
    try check(hmt_mknod(bytes, mode, major, minor))
  }

  func rename(to other: Path, _ flags: UInt32 = 0) throws(Errno) { try check(hmt_rename(bytes, other.bytes, flags)) }

  func makeSymlink(to target: Path) throws(Errno) { try check(symlink(target.bytes, bytes)) }

  func symlinkTarget() throws(Errno) -> [UInt8] {
    var target = [CChar](repeating: 0, count: 8192)
    let count = try check(readlink(bytes, &target, target.count))
    return target[..<count].map { UInt8(bitPattern: $0) }
  }

  /// All names in this directory, "." and ".." too, in the order of readdir(3).
  func names() throws(Errno) -> [String] {
    let directory = try Directory(self)
    defer { directory.close() }
    var names: [String] = []
    while let name = directory.next() { names.append(name) }
    return names
  }

  // MARK: Attributes

  func status() throws(Errno) -> stat {
    var status = stat()
    try check(stat(bytes, &status))
    return status
  }

  func statusOfLink() throws(Errno) -> stat {
    var status = stat()
    try check(lstat(bytes, &status))
    return status
  }

  var exists: Bool { (try? statusOfLink()) != nil }
  func size() throws(Errno) -> Int { Int(try status().st_size) }
  func links() throws(Errno) -> Int { Int(try status().st_nlink) }
  func inode() throws(Errno) -> UInt64 { UInt64(try status().st_ino) }
  func mode() throws(Errno) -> mode_t { try statusOfLink().st_mode & 0o7777 }
  func changeMode(_ mode: mode_t) throws(Errno) { try check(chmod(bytes, mode)) }
  func changeOwner(_ uid: uid_t, _ gid: gid_t) throws(Errno) { try check(chown(bytes, uid, gid)) }
  func truncate(_ size: Int) throws(Errno) { try check(Glibc.truncate(bytes, size)) }

  /// utimensat(2).
  func setTimes(_ accessed: timespec, _ modified: timespec, followingLinks: Bool = true) throws(Errno) {
    try check(utimensat(AT_FDCWD, bytes, [accessed, modified], followingLinks ? 0 : Int32(AT_SYMLINK_NOFOLLOW)))
  }

  func statistics() throws(Errno) -> statvfs {
    var statistics = statvfs()
    try check(statvfs(bytes, &statistics))
    return statistics
  }

  // MARK: Contents

  func open(_ flags: Int32 = O_RDONLY, _ mode: mode_t = 0o644) throws(Errno) -> File {
    File(try check(hmt_open(bytes, flags, mode)))
  }

  /// Made anew with these contents, durable.
  func create(_ contents: [UInt8] = [], mode: mode_t = 0o644) throws(Errno) {
    let file = try open(O_CREAT | O_TRUNC | O_WRONLY, mode)
    defer { file.close() }
    try check(fchmod(file.descriptor, mode))
    try file.writeAll(contents)
    try file.sync()
  }

  /// What a program reads, from the kernel's cache.
  func contents() throws(Errno) -> [UInt8] {
    let file = try open()
    defer { file.close() }
    return try file.read(try file.size(), at: 0)
  }

  /// What the daemon has, past the kernel's cache.
  func storedContents() throws(Errno) -> [UInt8] {
    let file = try open(O_RDONLY | hmt_o_direct)
    defer { file.close() }
    return try file.readDirectly()
  }
}

/// An open directory stream.
final class Directory {
  private let stream: OpaquePointer

  init(_ path: Path) throws(Errno) {
    guard let stream = opendir(path.bytes) else { throw Errno(errno) }
    self.stream = stream
  }

  func close() { closedir(stream) }

  func next() -> String? {
    guard let entry = readdir(stream) else { return nil }
    return withUnsafePointer(to: &entry.pointee.d_name) {
      $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
    }
  }

  var position: Int {
    get { telldir(stream) }
    set { seekdir(stream, newValue) }
  }

  func rewind() { rewinddir(stream) }
}
