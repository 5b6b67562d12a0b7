/// Runs a shell line and keeps what it says; where the built command is.

import Glibc
import HoldfastCommand
import Testing

struct Shell {
  var status: Int32
  /// stdout and stderr together, without the last newline.
  var output: String

  init(_ line: String) throws {
    let stream = try #require(popen("{ \(line); } 2>&1", "r"))
    output = String(decoding: try TextFile.all(from: fileno(stream), name: line), as: UTF8.self)
    let end = pclose(stream)
    status = end & 0x7f == 0 ? end >> 8 & 0xff : 128 + (end & 0x7f)
    if output.last == "\n" { output.removeLast() }
  }

  /// The command, built beside this test bundle; nil where only the tests were built.
  static let command: String? = {
    guard let program = try? Path.resolved("/proc/self/exe"), let slash = program.lastIndex(of: "/") else { return nil }
    let candidates =
      [program[..<slash] + "/holdfast"]
      + CommandLine.arguments.filter { $0.contains(".xctest") }.map {
        $0.prefix(upTo: $0.lastIndex(of: "/") ?? $0.startIndex) + "/holdfast"
      }
    return candidates.map(String.init).first { access($0, X_OK) == 0 }
  }()
}

/// Runs `body` in a new folder under /tmp, removed afterwards.
func inTemporaryFolder(_ body: (String) throws -> Void) throws {
  var template = Array("/tmp/holdfast-test-XXXXXX".utf8CString)
  let folder = try #require(mkdtemp(&template).map { String(cString: $0) })
  defer { _ = try? Shell("rm -rf \(folder)") }
  try body(folder)
}
