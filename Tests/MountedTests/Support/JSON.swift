/// The JSON the daemon answers, as types: decoding proves that every member is there and of its kind.

import FoundationEssentials

/// An element of `holdfast.holders` and `holdfast.seals`.
struct Holder: Decodable, Equatable {
  struct Range: Decodable, Equatable {
    var offset: UInt64
    var length: UInt64
  }

  var inode: UInt64
  var kind: String
  var range: Range?
  var name: String
  var pid: Int32
  var uid: UInt32
  var command: String
  var ageMs: Int64
  var generation: UInt64
  var lifetime: String
  /// Until it is fenced; nil while nobody asks for it back.
  var recallMs: Int64?
}

func decoded<Value: Decodable>(_ text: [UInt8], as type: Value.Type = Value.self) throws -> Value {
  let decoder = JSONDecoder()
  decoder.keyDecodingStrategy = .convertFromSnakeCase
  return try decoder.decode(type, from: Data(text))
}

extension Path {
  /// `holdfast.holders`.
  func holders() throws -> [Holder] { try decoded(try attribute("holdfast.holders")) }
}

extension Volume {
  /// `holdfast.seals` of the mount.
  func seals() throws -> [Holder] { try decoded(try root.attribute("holdfast.seals")) }
}
