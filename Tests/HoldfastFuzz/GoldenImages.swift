/// The images of a format version, made once by the engine that defined it and kept: Tests/Golden/vN-NAME.packed, and
/// what is in them as text beside. docs/FORMAT.md says how a new version's are made.

import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastFormat
import HoldfastStore

public enum GoldenImages {
  /// Version 1: no feature bits.
  public static let version = 1
  /// Cleanly unmounted; cut off with a journal, orphans and quarantine; a tree of three levels.
  public static let names = ["v1-clean", "v1-unclean", "v1-deep"]

  /// Tests/Golden of the checkout this was built from.
  public static let folder: String = {
    let file = #filePath
    let tests = file.split(separator: "/").dropLast(2).joined(separator: "/")
    return "/\(tests)/Golden"
  }()

  public static func image(_ name: String) throws -> [UInt8] {
    try PackedImage.unpack(try File.read("\(folder)/\(name).packed")[...])
  }

  public static func manifest(_ name: String) throws -> String {
    String(decoding: try File.read("\(folder)/\(name).manifest"), as: UTF8.self)
  }

  /// Makes this version's images in `folder`. Never over one that is there: a golden image is never rewritten.
  public static func make(in folder: String) throws {
    for name in names {
      let path = "\(folder)/\(name).packed"
      guard access(path, F_OK) != 0 else { throw File.Failure.exists(path) }
      let bytes = try GoldenMaker.make(name)
      try File.write(bytes.withUnsafeBytes { PackedImage.pack($0) }, to: path)
      let memory = ImageMemory(bytes)
      try File.write(
        Array(try Manifest.text(of: FuzzDevice(memory, readOnly: true)).utf8), to: "\(folder)/\(name).manifest")
    }
  }
}

/// Whole files.
public enum File {
  public enum Failure: Error { case cannotOpen(String), cannotTransfer(String), exists(String) }

  public static func read(_ path: String) throws -> [UInt8] {
    guard let file = fopen(path, "rb") else { throw Failure.cannotOpen(path) }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = fread(&buffer, 1, buffer.count, file)
      bytes += buffer[..<count]
      if count < buffer.count {
        guard ferror(file) == 0 else { throw Failure.cannotTransfer(path) }
        return bytes
      }
    }
  }

  public static func write(_ bytes: [UInt8], to path: String) throws {
    guard let file = fopen(path, "wb") else { throw Failure.cannotOpen(path) }
    let count = fwrite(bytes, 1, bytes.count, file)
    guard fclose(file) == 0, count == bytes.count else { throw Failure.cannotTransfer(path) }
  }

  /// Names in a folder, sorted; none when there is no such folder.
  public static func names(in folder: String) -> [String] {
    guard let directory = opendir(folder) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
      names.append(withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
    }
    return names.filter { !$0.hasPrefix(".") }.sorted()
  }
}
