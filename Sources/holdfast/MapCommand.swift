import ArgumentParser
import Glibc
import HoldfastBase
import HoldfastClient
import HoldfastCommand
import HoldfastDevice

struct MapCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "map",
    abstract: "Show where a file's bytes lie on the image, or draw the whole image.",
    discussion: """
      Examples:
        holdfast map /mnt/data
        holdfast map /mnt/data --json
        holdfast map disk.img --svg picture.svg     an image that is not mounted
        holdfast map /mnt --svg picture.svg         a mounted one, as it is now
      """)

  @Argument(help: "A file on a Holdfast mount; with --svg an image or a mount point.", completion: .file())
  var path: String

  @Flag(help: "One JSON object; docs/CLI.md describes it.")
  var json = false

  @Option(help: ArgumentHelp("Draw the image into this file, - for stdout.", valueName: "out"), completion: .file())
  var svg: String?

  func validate() throws {
    if json && svg != nil { throw ValidationError("--json and --svg exclude each other") }
  }

  func run() throws {
    if let svg { return try TextFile.write(VolumePicture.svg(of: try survey()), to: svg) }
    let (map, size, inode) = try asCommand { () throws(ClientError) in
      let file = try OpenFile(path)
      var status = stat()
      fstat(file.descriptor, &status)
      return (try file.map(), UInt64(status.st_size), UInt64(status.st_ino))
    }
    json ? printJSON(map, size: size, inode: inode) : printTable(map, size: size)
  }

  private func survey() throws -> VolumeSurvey {
    var status = stat()
    guard stat(path, &status) == 0 else { throw CommandError(path, errno: errno) }
    if status.st_mode & S_IFMT == S_IFDIR { return try MountSurvey.survey(path) }
    do throws(FSError) {
      return try ImageSurvey.survey(UnlockedImage(path), title: path)
    } catch {
      throw CommandError(path, Info.text(error))
    }
  }

  private func printTable(_ map: FileMap, size: UInt64) {
    let count = map.extents.count == 1 ? "1 extent" : "\(map.extents.count) extents"
    print("\(path.printable): \(size) bytes, \(count), generation \(map.generation)")
    guard !map.extents.isEmpty else { return }
    Table.print(
      header: ["LOGICAL", "PHYSICAL", "LENGTH", "FLAGS"],
      rows: map.extents.map { ["\($0.logical)", "\($0.physical)", "\($0.length)", $0.flags] })
  }

  private func printJSON(_ map: FileMap, size: UInt64, inode: UInt64) {
    var out = JSONWriter()
    out.beginObject()
    out.member("file", path)
    out.member("inode", inode)
    out.member("size", size)
    out.member("generation", map.generation)
    out.key("extents")
    out.beginArray()
    for extent in map.extents {
      out.beginObject()
      out.member("logical", extent.logical)
      out.member("physical", extent.physical)
      out.member("length", extent.length)
      out.key("flags")
      out.beginArray()
      for flag in extent.flags.split(separator: ",") { out.value(String(flag)) }
      out.endArray()
      out.endObject()
    }
    out.endArray()
    out.endObject()
    print(String(decoding: out.finish(), as: UTF8.self))
  }
}
