/// The extended attributes of an open file: fgetxattr(2), fsetxattr(2), fremovexattr(2).

import CPlatform
import Glibc

extension OpenFile {
  /// The value of `name`, nil when there is none.
  public func attribute(_ name: String) throws(ClientError) -> [UInt8]? {
    while true {
      let size = fgetxattr(descriptor, name, nil, 0)
      if size < 0 && errno == ENODATA { return nil }
      guard size >= 0 else { throw ClientError(.attribute, path: path, errno: errno) }
      var value = [UInt8](repeating: 0, count: size)
      let count = fgetxattr(descriptor, name, &value, size)
      if count >= 0 { return Array(value.prefix(count)) }
      // ERANGE: it grew in between.
      guard errno == ERANGE || errno == EINTR else { throw ClientError(.attribute, path: path, errno: errno) }
    }
  }

  public func setAttribute(_ name: String, to value: [UInt8]) throws(ClientError) {
    while fsetxattr(descriptor, name, value, value.count, 0) != 0 {
      guard errno == EINTR else { throw ClientError(.attribute, path: path, errno: errno) }
    }
  }

  public func removeAttribute(_ name: String) throws(ClientError) {
    while fremovexattr(descriptor, name) != 0 {
      guard errno == EINTR else { throw ClientError(.attribute, path: path, errno: errno) }
    }
  }
}
