import ArgumentParser
import CPlatform
import Glibc
import HoldfastBase
import HoldfastBench
import HoldfastClient
import HoldfastCommand

struct Bench: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Measure direct access, and compare mounts.",
    discussion: """
      Makes a volume in memory (/dev/shm) and one on a disk (TMPDIR or /var/tmp), mounts them, and measures a file's \
      blocks used directly against the same on the image and through the mount: each a ratio, by turns in one run, \
      beside what it is to be. Takes about a minute. Nothing is left behind.

      With --against the same plain work (reads, writes, names) is done in a folder on a new volume and in each PATH.

      Examples:
        holdfast bench
        holdfast bench --against /mnt/ext4 --json
      """)

  @Option(
    help: ArgumentHelp("A folder on another filesystem, to compare with; may be repeated.", valueName: "path"),
    completion: .directory)
  var against: [String] = []

  @Option(help: ArgumentHelp("Size of the file in memory: K M G; 256M or more.", valueName: "size"))
  var size: ByteSize = ByteSize(bytes: 1 << 30)

  @Flag(help: "Print one JSON object.")
  var json = false

  private static let diskFileBytes = 256 << 20
  /// For metadata, reserves and the small files.
  private static let spareBytes = 384 << 20

  func run() throws {
    guard size.bytes >= 256 << 20, size.bytes & 0xfff == 0 else {
      throw ValidationError("--size: 256M or more, in whole blocks")
    }
    Interruption.watch()
    var table = BenchTable(isJSON: json)
    if against.isEmpty {
      try memory(&table)
      try disk(&table)
    } else {
      try compare(&table)
    }
    table.finish()
  }

  private func memory(_ table: inout BenchTable) throws {
    let bytes = Self.fitting(Int(size.bytes), in: "/dev/shm")
    try Scratch.with("/dev/shm", imageBytes: bytes + Self.spareBytes) { scratch in
      let file = try scratch.makeFile("data", byteCount: bytes)
      try table.measuring { report in
        try MemoryBench(path: file, image: scratch.image, byteCount: bytes).run(report)
        try LayoutBench(folder: scratch.mountPoint, image: scratch.image).run(report)
      }
    }
  }

  private func disk(_ table: inout BenchTable) throws {
    let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/var/tmp"
    guard !Self.isMemory(folder) else {
      complain("\(folder) is in memory: the rows about a disk are left out (set TMPDIR to a folder on one)")
      return
    }
    try Scratch.with(folder, imageBytes: Self.diskFileBytes + Self.spareBytes, options: "direct") { scratch in
      let file = try scratch.makeFile("data", byteCount: Self.diskFileBytes)
      try table.measuring { report in
        try DiskBench(path: file, image: scratch.image, byteCount: Self.diskFileBytes).run(report)
      }
    }
  }

  private func compare(_ table: inout BenchTable) throws {
    try Scratch.with("/dev/shm", imageBytes: Self.spareBytes) { scratch in
      let own = try PathBench(folder: scratch.mountPoint).run()
      for path in against {
        let folder = try Scratch.folder(in: path)
        defer { rmdir(folder) }
        let theirs = try PathBench(folder: folder).run()
        try table.measuring { report in
          for (a, b) in zip(own, theirs) {
            report(Measurement(a.name, against: path, .perSecond, a.perSecond, b.perSecond))
          }
        }
      }
    }
  }

  /// As much as is asked for, or the largest half of it that fits twice over.
  private static func fitting(_ bytes: Int, in folder: String) -> Int {
    var status = statvfs()
    guard statvfs(folder, &status) == 0 else { return bytes }
    let free = Int(status.f_bavail) * Int(status.f_frsize)
    var fitting = bytes
    while fitting > 256 << 20, fitting + 2 * spareBytes > free { fitting /= 2 }
    return fitting
  }

  private static func isMemory(_ folder: String) -> Bool {
    guard let entries = try? MountTable.current().entries, let path = try? Path.resolved(folder) else { return false }
    let holding = entries.filter {
      path == $0.mountPoint || path.hasPrefix($0.mountPoint == "/" ? "/" : $0.mountPoint + "/")
    }
    return holding.max { $0.mountPoint.utf8.count < $1.mountPoint.utf8.count }?.type == "tmpfs"
  }
}

/// A signal that asks for the end: what was made is taken away first.
enum Interruption {
  /// Written by the handler.
  private nonisolated(unsafe) static var hasCome: sig_atomic_t = 0

  static func watch() {
    for number in [SIGINT, SIGTERM, SIGHUP] { signal(number) { _ in Interruption.hasCome = 1 } }
  }

  static func check() throws {
    if hasCome != 0 { throw CommandError("bench", "interrupted") }
  }
}

/// A volume made for a measurement, mounted; gone afterwards, whatever happens.
struct Scratch {
  let folder: String
  var image: String { folder + "/image" }
  var mountPoint: String { folder + "/mnt" }

  static func with(
    _ parent: String, imageBytes: Int, options: String = "", _ body: (Scratch) throws -> Void
  ) throws {
    let scratch = Scratch(folder: try folder(in: parent))
    defer { scratch.remove() }
    try scratch.run("mkfs", scratch.image, "--size", "\(imageBytes)")
    guard mkdir(scratch.mountPoint, 0o700) == 0 else { throw CommandError(scratch.mountPoint, errno: errno) }
    try Daemon.start(image: scratch.image, mountPoint: scratch.mountPoint, options: options, log: nil)
    try body(scratch)
    try scratch.run("unmount", scratch.mountPoint)
  }

  static func folder(in parent: String) throws(CommandError) -> String {
    var template = Array("\(parent)/holdfast-bench-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw CommandError(parent, errno: errno) }
    return String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// A file in one run of blocks, all written.
  func makeFile(_ name: String, byteCount: Int) throws -> String {
    let path = "\(mountPoint)/\(name)"
    let descriptor = holdfast_open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
    guard descriptor >= 0, ftruncate(descriptor, off_t(byteCount)) == 0 else { throw CommandError(path, errno: errno) }
    close(descriptor)
    let made = try OpenFile(path, access: .readWrite).prepareContiguously(alignment: 2 << 20)
    guard made.isFulfilled else { throw CommandError(path, "the new volume has no run of \(byteCount) bytes") }
    return path
  }

  private func run(_ words: String...) throws(CommandError) {
    let (output, status) = try Subprocess.output(of: [Daemon.ownProgram()] + words)
    guard status == 0 else {
      throw CommandError("holdfast \(words.joined(separator: " "))", "exit status \(status) \(output)")
    }
  }

  private func remove() {
    if (try? MountTable.current())?.holdfast(at: mountPoint) != nil {
      _ = try? Subprocess.output(of: [Daemon.ownProgram(), "unmount", mountPoint])
      _ = holdfast_umount(mountPoint, Int32(MNT_DETACH))
    }
    rmdir(mountPoint)
    unlink(image)
    rmdir(folder)
  }
}

/// What was measured, printed as it comes, or as one JSON object.
struct BenchTable {
  let isJSON: Bool
  private var rows: [Measurement] = []

  init(isJSON: Bool) { self.isJSON = isJSON }

  mutating func measuring(_ body: ((Measurement) -> Void) throws -> Void) throws {
    var rows: [Measurement] = []
    try body { row in
      if !isJSON {
        if self.rows.isEmpty && rows.isEmpty { print(Self.line("", "", "", "", "ratio", "budget", "")) }
        print(Self.line(row))
        fflush(nil)
      }
      rows.append(row)
    }
    self.rows += rows
    try Interruption.check()
  }

  func finish() {
    guard isJSON else {
      let missed = rows.filter { $0.isMet == false }.count
      let judged = rows.filter { $0.isMet != nil }.count
      if judged > 0 { print("\(judged - missed) of \(judged) within budget") }
      return
    }
    var json = JSONWriter()
    json.beginObject()
    json.key("rows")
    json.beginArray()
    for row in rows {
      json.beginObject()
      json.member("name", row.name)
      json.member("against", row.reference)
      json.member("unit", row.unit.rawValue)
      json.key("value")
      json.value(Self.rounded(row.value))
      json.key("reference")
      json.value(Self.rounded(row.referenceValue))
      json.key("ratio")
      json.value(Self.rounded(row.ratio))
      json.member("budget", Self.budget(row))
      json.key("met")
      if let isMet = row.isMet { json.value(isMet) } else { json.null() }
      json.endObject()
    }
    json.endArray()
    json.endObject()
    print(String(decoding: json.finish(), as: UTF8.self))
  }

  private static func line(_ row: Measurement) -> String {
    line(
      row.name, "\(rounded(row.value)) \(row.unit.rawValue)", row.reference,
      "\(rounded(row.referenceValue)) \(row.unit.rawValue)", "\(rounded(row.ratio)) x", budget(row),
      row.isMet.map { $0 ? "met" : "MISSED" } ?? "")
  }

  private static func line(_ columns: String...) -> String {
    zip(columns, [48, 15, 36, 15, 10, 8, 0]).map { text, width in
      text + String(repeating: " ", count: max(width == 0 ? 0 : 1, width - text.count))
    }.joined()
  }

  private static func budget(_ row: Measurement) -> String {
    switch row.budget {
    case .atLeast(let least): ">= \(least)"
    case .atMost(let most): "<= \(most)"
    case nil: ""
    }
  }

  /// Three digits that mean something.
  private static func rounded(_ value: Double) -> Double {
    value >= 100 ? value.rounded() : value >= 10 ? (value * 10).rounded() / 10 : (value * 1000).rounded() / 1000
  }
}
