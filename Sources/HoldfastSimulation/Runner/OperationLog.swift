/// A run as a text file: a header of settings, then one operation a line. What `--replay` reads.
///
///     # holdfast stress log 1
///     # seed 7, job 0
///     # maximum-file-bytes 524288
///     create 0/3 h1 420

import Glibc

public struct OperationLog: Equatable, Sendable {
  public var seed: UInt64
  public var job: Int
  /// What must be as it was for the operations to mean the same.
  public var maximumFileBytes: Int
  public var imageBytes: UInt64
  public var cacheBytes: Int
  public var seals: Bool
  public var operations: [Operation]

  static let title = "# holdfast stress log 1"

  init(options: StressOptions, job: Int, operations: [Operation]) {
    seed = options.seed
    self.job = job
    maximumFileBytes = options.maximumFileBytes
    imageBytes = options.imageBytes
    cacheBytes = options.cacheBytes
    seals = options.seals
    self.operations = operations
  }

  /// `options` with this log's settings.
  public func applied(to options: StressOptions) -> StressOptions {
    var options = options
    options.seed = seed
    options.maximumFileBytes = maximumFileBytes
    options.imageBytes = imageBytes
    options.cacheBytes = cacheBytes
    options.seals = seals
    options.operations = operations.count
    return options
  }

  public var text: String {
    let header = [
      Self.title, "# seed \(seed)", "# job \(job)", "# maximum-file-bytes \(maximumFileBytes)",
      "# image-bytes \(imageBytes)", "# cache-bytes \(cacheBytes)", "# seals \(seals ? 1 : 0)",
    ]
    return (header + operations.map(\.description)).joined(separator: "\n") + "\n"
  }

  /// Why a text is no log.
  public struct Malformed: Error, CustomStringConvertible {
    public var line: Int
    public var text: String
    public var description: String { line == 0 ? text : "line \(line) is no operation: \(text)" }
  }

  public init(text: String) throws(Malformed) {
    let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
    guard lines.first.map(String.init) == Self.title else { throw Malformed(line: 0, text: "not a stress log") }
    self.init(options: StressOptions(), job: 0, operations: [])
    for (index, line) in lines.enumerated() where !line.isEmpty {
      if line.hasPrefix("#") {
        take(setting: line.dropFirst(2))
      } else if let operation = Operation(line: line) {
        operations.append(operation)
      } else {
        throw Malformed(line: index + 1, text: String(line))
      }
    }
  }

  private mutating func take(setting: Substring) {
    let words = setting.split(separator: " ")
    guard words.count == 2, let value = UInt64(words[1]) else { return }
    switch words[0] {
    case "seed": seed = value
    case "job": job = Int(clamping: value)
    case "maximum-file-bytes": maximumFileBytes = Int(clamping: min(value, 1 << 30))
    case "image-bytes": imageBytes = min(value, 1 << 40)
    case "cache-bytes": cacheBytes = Int(clamping: min(value, 1 << 34))
    case "seals": seals = value != 0
    default: break
    }
  }

  // MARK: Files

  /// Writes the log; the errno when that fails.
  @discardableResult
  public func write(to path: String) -> Int32 {
    let file = fopen(path, "w")
    guard let file else { return errno }
    defer { fclose(file) }
    return fputs(text, file) < 0 ? errno : 0
  }

  public init(path: String) throws(Malformed) {
    guard let file = fopen(path, "r") else {
      throw Malformed(line: 0, text: "\(path): \(String(cString: strerror(errno)))")
    }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 65536)
    while true {
      let count = fread(&chunk, 1, chunk.count, file)
      if count == 0 { break }
      bytes.append(contentsOf: chunk[..<count])
    }
    try self.init(text: String(decoding: bytes, as: UTF8.self))
  }
}
