import ArgumentParser
import Glibc
import HoldfastBase
import HoldfastClient
import HoldfastCommand

struct Defrag: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Bring files into few, long extents, while they are in use.",
    discussion: """
      A file in one piece is left alone, and none comes to lie in more pieces than before. Of a file that is named, a \
      seal or pin refuses it, and a breakable one is asked to let go; below a directory, or with --skip, what is held \
      stays where it is and is named.

      Examples:
        holdfast defrag /mnt/data
        holdfast defrag /mnt
      """)

  @Argument(help: "Files on a Holdfast mount, or directories for all files below.", completion: .file())
  var paths: [String]

  @Flag(help: "Leave alone what is held, instead of failing or asking for it.")
  var skip = false

  @Flag(help: "One JSON object; docs/CLI.md describes it.")
  var json = false

  func run() throws {
    var summary = DefragSummary()
    var hasFailed = false
    for path in paths {
      do {
        if FileWalk.isDirectory(path) {
          try Self.requireMount(path)
          let showsProgress = !json && isatty(STDERR_FILENO) == 1
          try FileWalk.files(below: path) { file in
            if showsProgress { Self.show(summary, file) }
            // A file that went meanwhile, or is nobody's to move, is not this command's failure.
            do {
              summary.add(file, try OpenFile(file).defragment(skippingHeld: true))
            } catch let error as ClientError where error.errno == ENOENT || error.errno == ESTALE {
            } catch {
              complain("\(error)")
              hasFailed = true
            }
          }
          if showsProgress { Self.clearLine() }
        } else {
          summary.add(path, try OpenFile(path).defragment(skippingHeld: skip))
        }
      } catch {
        complain("\(error)")
        hasFailed = true
      }
    }
    if json { summary.printJSON() } else { summary.print() }
    if hasFailed { throw ExitCode.failure }
  }

  /// Elsewhere each file below would fail by itself.
  private static func requireMount(_ directory: String) throws(ClientError) {
    do throws(ClientError) {
      _ = try OpenFile(directory).mountInfo()
    } catch {
      throw error.operation == .open ? error : ClientError(.defragment, path: directory, errno: error.errno)
    }
  }

  private static func show(_ summary: DefragSummary, _ path: String) {
    let line = "\r\u{1b}[K\(summary.files) files, \(ByteSize(bytes: summary.moved)) moved: \(path.printable.suffix(50))"
    line.withCString { _ = write(STDERR_FILENO, $0, strlen($0)) }
  }

  private static func clearLine() { "\r\u{1b}[K".withCString { _ = write(STDERR_FILENO, $0, strlen($0)) } }
}

/// What was done to all files together.
private struct DefragSummary {
  private(set) var files = 0
  private var before: UInt64 = 0
  private var after: UInt64 = 0
  private(set) var moved: UInt64 = 0
  private var skipped: UInt64 = 0
  private var unplaced: UInt64 = 0
  private var held: [(path: String, bytes: UInt64, holder: Defragmentation.Holder?)] = []

  mutating func add(_ path: String, _ one: Defragmentation) {
    files += 1
    before += one.fragmentsBefore
    after += one.fragmentsAfter
    moved += one.moved
    skipped += one.skipped
    unplaced += one.unplaced
    if one.skipped > 0 { held.append((path, one.skipped, one.holder)) }
  }

  func print() {
    for file in held {
      let holder = file.holder.map { "\($0.name.asRequest) of uid \($0.uid), pid \($0.pid)" } ?? "a request"
      Swift.print("\(file.path.printable): \(ByteSize(bytes: file.bytes)) left where they are: held by \(holder)")
    }
    var text = "\(files) files, \(before) extents before, \(after) now, \(ByteSize(bytes: moved)) moved"
    if skipped > 0 { text += ", \(ByteSize(bytes: skipped)) held" }
    if unplaced > 0 { text += ", for \(ByteSize(bytes: unplaced)) there was no longer run" }
    Swift.print(text)
  }

  func printJSON() {
    var out = JSONWriter()
    out.beginObject()
    out.member("files", files)
    out.member("extents_before", before)
    out.member("extents_after", after)
    out.member("moved", moved)
    out.member("skipped", skipped)
    out.member("unplaced", unplaced)
    out.key("held")
    out.beginArray()
    for file in held {
      out.beginObject()
      out.member("file", file.path)
      out.member("bytes", file.bytes)
      out.member("name", file.holder?.name ?? "")
      out.member("uid", file.holder?.uid)
      out.member("pid", file.holder?.pid)
      out.endObject()
    }
    out.endArray()
    out.endObject()
    Swift.print(String(decoding: out.finish(), as: UTF8.self))
  }
}
