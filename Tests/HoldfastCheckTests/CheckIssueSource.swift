import Foundation

/// The cases of an enum with payloads, read from its source: it cannot list them itself.
enum CheckIssueSource {
  static func cases() throws -> Set<String> { try casesOf("CheckIssue.swift") }

  static func casesOf(_ file: String) throws -> Set<String> {
    let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../../Sources/HoldfastCheck/\(file)")
    let text = try String(contentsOf: path, encoding: .utf8)
    let body = text.components(separatedBy: "\nextension ")[0]
    return Set(
      body.split(separator: "\n").compactMap { line in
        let words = line.split(separator: " ")
        guard words.first == "case", words.count > 1 else { return nil }
        return String(words[1].prefix { $0.isLetter })
      })
  }
}

enum NoteSource {
  static func cases() throws -> Set<String> { try CheckIssueSource.casesOf("Repair/RepairNote.swift") }
}
