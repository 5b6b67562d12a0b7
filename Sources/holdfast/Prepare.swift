import ArgumentParser
import Glibc
import HoldfastBase
import HoldfastClient
import HoldfastCommand

struct Prepare: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Give a file its blocks, so that it can be sealed; on request in one piece.",
    discussion: """
      Allocates what has no blocks yet and zeroes what is unwritten, up to the end of the file. With --contiguous (or \
      --align) the range comes to lie in one run of the image, which is made by moving blocks where there is none. What \
      is held by a seal, a pin or a layout does not move. When there is no such run, that is said, and the exit status \
      is 1; the file is prepared all the same. When the blocks cannot be had, the file keeps the size it had.

      Examples:
        holdfast prepare /mnt/data
        holdfast prepare /mnt/data --size 1G --contiguous --align 2M
        holdfast prepare /mnt/data --range 0+64M --contiguous --json
      """)

  @Argument(help: "Files on a Holdfast mount.", completion: .file())
  var files: [String]

  @Option(help: ArgumentHelp("Only these bytes: OFFSET+LENGTH, with K M G T if you like.", valueName: "off+len"))
  var range: ByteRange?

  @Option(help: ArgumentHelp("Make the file at least so large first.", valueName: "size"))
  var size: ByteSize?

  @Flag(help: "In one run of the image.")
  var contiguous = false

  @Option(
    help: ArgumentHelp(
      "One run that begins at a multiple of this on the image: a power of two from 4K to 1G.", valueName: "size"))
  var align: ByteSize?

  @Flag(help: "One JSON object a file; docs/CLI.md describes it.")
  var json = false

  func validate() throws {
    if let align, align.bytes < 4096 || align.bytes > 1 << 30 || align.bytes & (align.bytes - 1) != 0 {
      throw ValidationError("--align takes a power of two from 4K to 1G")
    }
    if json && !contiguous && align == nil { throw ValidationError("--json goes with --contiguous or --align") }
  }

  func run() throws {
    try forEach(files) { path in
      let file = try OpenFile(path, access: .readWrite)
      var former: off_t?
      if let size { former = try Self.grow(file, to: size.bytes) }
      let answer: Contiguity?
      do throws(ClientError) {
        answer = try prepare(file)
      } catch {
        // The blocks it got before it failed may be all there are.
        if let former, let size { Self.shrink(file, from: off_t(size.bytes), to: former) }
        throw error
      }
      guard let outcome = answer else { return }
      if json { printJSON(outcome, path) } else if outcome.isFulfilled { printText(outcome, path) }
      guard outcome.isFulfilled else {
        throw CommandError(path, "prepared, but not in one run: " + Self.reasons(outcome))
      }
    }
  }

  /// Nil where one run was not asked for.
  private func prepare(_ file: borrowing OpenFile) throws(ClientError) -> Contiguity? {
    let offset = range?.offset ?? 0
    let length = range?.length ?? 0
    guard contiguous || align != nil else {
      try file.prepare(offset: offset, length: length)
      return nil
    }
    return try file.prepareContiguously(offset: offset, length: length, alignment: align?.bytes ?? 0)
  }

  /// Never smaller; the size it had, nil where it was as large already.
  private static func grow(_ file: borrowing OpenFile, to size: UInt64) throws(ClientError) -> off_t? {
    var status = stat()
    guard fstat(file.descriptor, &status) == 0 else { throw ClientError(.prepare, path: file.path, errno: errno) }
    guard UInt64(status.st_size) < size else { return nil }
    guard ftruncate(file.descriptor, off_t(size)) == 0 else {
      throw ClientError(.prepare, path: file.path, errno: errno)
    }
    return off_t(status.st_size)
  }

  /// Unless somebody gave it another size meanwhile.
  private static func shrink(_ file: borrowing OpenFile, from size: off_t, to former: off_t) {
    var status = stat()
    guard fstat(file.descriptor, &status) == 0, off_t(status.st_size) == size else { return }
    _ = ftruncate(file.descriptor, former)
  }

  private func printText(_ outcome: Contiguity, _ path: String) {
    var text = "\(path.printable): in one run"
    if outcome.moved > 0 { text += ", \(ByteSize(bytes: outcome.moved)) moved" }
    if outcome.evacuated > 0 { text += ", \(ByteSize(bytes: outcome.evacuated)) of other files moved out of its way" }
    print(text)
  }

  private func printJSON(_ outcome: Contiguity, _ path: String) {
    var out = JSONWriter()
    out.beginObject()
    out.member("file", path)
    out.member("contiguous", outcome.isFulfilled)
    out.member("fragments", outcome.fragments)
    out.member("longest", outcome.longest)
    out.member("longest_free", outcome.longestFree)
    out.member("moved", outcome.moved)
    out.member("evacuated", outcome.evacuated)
    out.key("obstacles")
    out.beginArray()
    for (obstacle, name) in Self.obstacleNames where outcome.obstacles.contains(obstacle) { out.value(name) }
    out.endArray()
    out.member("holder_inode", outcome.holder?.inode)
    out.member("holder_name", outcome.holder?.name ?? "")
    out.endObject()
    print(String(decoding: out.finish(), as: UTF8.self))
  }

  private static let obstacleNames: [(Contiguity.Obstacles, String)] = [
    (.held, "held"), (.metadata, "metadata"), (.quarantine, "quarantine"), (.space, "space"),
  ]

  private static func reasons(_ outcome: Contiguity) -> String {
    var reasons = [
      "\(outcome.fragments) runs, the longest of \(ByteSize(bytes: outcome.longest)); the longest free one has "
        + "\(ByteSize(bytes: outcome.longestFree))"
    ]
    if outcome.obstacles.contains(.held) {
      let holder = outcome.holder.map { " (\($0.name.asRequest) on inode \($0.inode))" } ?? ""
      reasons.append("sealed blocks are in the way\(holder)")
    }
    if outcome.obstacles.contains(.quarantine) { reasons.append("blocks somebody may still reach are in the way") }
    if outcome.obstacles.contains(.metadata) { reasons.append("the filesystem's own blocks are in the way") }
    if outcome.obstacles.contains(.space) { reasons.append("there is not enough free space") }
    return reasons.joined(separator: "; ")
  }
}
