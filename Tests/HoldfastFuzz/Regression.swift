/// Inputs that found something, kept: the base's name, the workload's seed, the image's length, and what was damaged,
/// as a packed difference to the base. They stay the same whatever becomes of the mutator.
///
///     u32 version (1) | u32 base's number in `GoldenImages.names` | u64 seed | u64 length | packed difference

import HoldfastBase

public enum Regression {
  public enum Failure: Error { case malformed(String) }

  private static let version: UInt32 = 1
  private static let headerBytes = 24

  /// Tests/Regressions of the checkout this was built from.
  public static let folder: String = {
    let file = #filePath
    let tests = file.split(separator: "/").dropLast(2).joined(separator: "/")
    return "/\(tests)/Regressions"
  }()

  /// Keeps the input just made; before it runs.
  public static func save(_ input: FuzzInput, to path: String) throws {
    var bytes = [UInt8](repeating: 0, count: headerBytes)
    guard let base = GoldenImages.names.firstIndex(of: input.base.name) else {
      throw Failure.malformed(input.base.name)
    }
    bytes.withUnsafeMutableBytes {
      let p = $0.baseAddress!
      p.put(version, 0)
      p.put(UInt32(base), 4)
      p.put(input.seed, 8)
      p.put(input.byteCount, 16)
    }
    bytes += input.base.memory.difference().withUnsafeBytes { PackedImage.pack($0) }
    try File.write(bytes, to: path)
  }

  /// The input kept at `path`; `bases` are those of `GoldenImages.names`, in that order.
  public static func load(_ path: String, bases: [FuzzBase]) throws -> FuzzInput {
    let bytes = try File.read(path)
    guard bytes.count > headerBytes else { throw Failure.malformed(path) }
    let (found, base, seed, length) = bytes.withUnsafeBytes { raw in
      (raw.baseAddress!.u32(0), Int(raw.baseAddress!.u32(4)), raw.baseAddress!.u64(8), raw.baseAddress!.u64(16))
    }
    guard found == version, bases.indices.contains(base) else { throw Failure.malformed(path) }
    let difference = try PackedImage.unpack(bytes[headerBytes...])
    return FuzzInput(bases[base], difference: difference, byteCount: length, seed: seed)
  }
}
