/// Extended attributes by path, and the virtual ones of a Holdfast file.

import CMountedSupport
import Glibc

extension Path {
  func attribute(_ name: String) throws(Errno) -> [UInt8] {
    var value = [UInt8](repeating: 0, count: 65_536)
    let count = try check(lgetxattr(bytes, name, &value, value.count))
    return Array(value[..<count])
  }

  func attributeText(_ name: String) throws(Errno) -> String { String(decoding: try attribute(name), as: UTF8.self) }

  /// The size a value has, as asked for with an empty buffer.
  func attributeSize(_ name: String) throws(Errno) -> Int { try check(lgetxattr(bytes, name, nil, 0)) }

  func setAttribute(_ name: String, _ value: [UInt8], _ flags: Int32 = 0) throws(Errno) {
    try check(lsetxattr(bytes, name, value, value.count, flags))
  }

  func setAttribute(_ name: String, _ value: String, _ flags: Int32 = 0) throws(Errno) {
    try setAttribute(name, Array(value.utf8), flags)
  }

  func removeAttribute(_ name: String) throws(Errno) { try check(lremovexattr(bytes, name)) }

  func attributeNames() throws(Errno) -> [String] {
    var list = [CChar](repeating: 0, count: 65_536)
    let count = try check(llistxattr(bytes, &list, list.count))
    return list[..<count].split(separator: 0).map { String(decoding: $0.map(UInt8.init(bitPattern:)), as: UTF8.self) }
  }

  // MARK: Seals

  /// Takes the named request, "" for the default one, as setfattr does.
  func seal(_ specification: String = "1", name: String = "", _ flags: Int32 = 0) throws(Errno) {
    try setAttribute(name.isEmpty ? "holdfast.seal" : "holdfast.seal.\(name)", specification, flags)
  }

  func unseal(name: String = "") throws(Errno) {
    try removeAttribute(name.isEmpty ? "holdfast.seal" : "holdfast.seal.\(name)")
  }

  func sealCount() throws(Errno) -> Int { Int(try attributeText("holdfast.seal_count")) ?? -1 }
  func generation() throws(Errno) -> UInt64 { UInt64(try attributeText("holdfast.generation")) ?? 0 }
  func extents() throws(Errno) -> String { try attributeText("holdfast.extents") }
  func isMapImmutable() throws(Errno) -> Bool { try attributeText("holdfast.iomap_immutable") == "1" }
}
