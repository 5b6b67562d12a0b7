import ArgumentParser
import Glibc
import HoldfastClient
import HoldfastCommand

struct Seals: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "List the requests that hold a file, or every one on a mount.",
    discussion: """
      Of a breakable request that somebody waits for: the time its holder has left.

      Examples:
        holdfast seals /mnt/data
        holdfast seals /mnt --json
      """)

  @Argument(help: "A file, or a directory to list its whole mount.", completion: .file())
  var path: String

  @Flag(help: "One JSON object; docs/CLI.md describes it.")
  var json = false

  func run() throws {
    let text = try asCommand { () throws(ClientError) in
      let file = try OpenFile(path)
      return try Self.isDirectory(path) ? file.seals() : file.holders()
    }
    if json {
      print("{\"requests\":\(String(decoding: text, as: UTF8.self))}")
      return
    }
    let requests = try SealReport.decode(text)
    guard !requests.isEmpty else {
      print(Self.isDirectory(path) ? "no seals on this mount" : "\(path.printable): not sealed")
      return
    }
    Table.print(
      header: ["INODE", "KIND", "RANGE", "NAME", "HOLDER", "AGE", "ENDS"],
      rows: requests.map {
        [
          $0.inode.map(String.init) ?? "-", $0.kind.printable + ($0.layout == nil ? "" : ", \($0.thing)"), $0.scope,
          $0.name.isEmpty ? "-" : $0.name.printable,
          $0.holder, $0.age, $0.prospect,
        ]
      })
  }

  private static func isDirectory(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }
}

/// Columns padded to their widest cell.
enum Table {
  static func print(header: [String], rows: [[String]]) {
    let lines = [header] + rows
    let widths = header.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
    for line in lines {
      let cells = zip(line, widths).map { cell, width in cell + String(repeating: " ", count: width - cell.count) }
      var text = cells.joined(separator: "  ")
      while text.last == " " { text.removeLast() }
      Swift.print(text)
    }
  }
}
