import Foundation

/// The cases of `CheckIssue`, read from its source: the enum has payloads and cannot list them itself.
enum CheckIssueSource {
  static func cases() throws -> Set<String> {
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../../Sources/HoldfastCheck/CheckIssue.swift")
    let text = try String(contentsOf: path, encoding: .utf8)
    let body = text.components(separatedBy: "\nextension CheckIssue")[0]
    return Set(
      body.split(separator: "\n").compactMap { line in
        let words = line.split(separator: " ")
        guard words.first == "case", words.count > 1 else { return nil }
        return String(words[1].prefix { $0.isLetter })
      })
  }
}
