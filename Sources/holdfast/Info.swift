import ArgumentParser
import FoundationEssentials
import Glibc
import HoldfastBase
import HoldfastClient
import HoldfastCommand
import HoldfastFormat

struct Info: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Describe a volume: an image, or a mount with its daemon.",
    discussion: """
      Examples:
        holdfast info disk.img
        holdfast info /mnt --json
      """)

  @Argument(help: "Image file, block device or mount point.", completion: .file())
  var path: String

  @Flag(help: "One JSON object; docs/CLI.md describes it.")
  var json = false

  func run() throws {
    var status = stat()
    guard stat(path, &status) == 0 else { throw CommandError(path, errno: errno) }
    let text: [UInt8]
    if status.st_mode & S_IFMT == S_IFDIR {
      text = try asCommand { () throws(ClientError) in try OpenFile(path).mountInfo() }
    } else {
      do throws(FSError) {
        text = Self.describe(try VolumeHead(reading: UnlockedImage(path)), path: path)
      } catch {
        throw CommandError(path, Self.text(error))
      }
    }
    json ? print(String(decoding: text, as: UTF8.self)) : try JSONText.print(text)
  }

  /// The members docs/CLI.md lists for an image.
  private static func describe(_ head: VolumeHead, path: String) -> [UInt8] {
    let superblock = head.superblock
    let block = UInt64(Block.size)
    var out = JSONWriter()
    out.beginObject()
    out.member("image", path)
    out.member("uuid", superblock.id.description)
    out.member("label", superblock.label)
    out.member("size_bytes", superblock.totalBlocks * block)
    out.member("free_bytes", superblock.freeBlocks * block)
    out.member("quarantined_bytes", superblock.quarantinedBlocks * block)
    out.member("journal_bytes", superblock.journalBlocks * block)
    out.member("inodes", superblock.inodeCount)
    out.member("clean", superblock.state.contains(.clean))
    out.member("errors_seen", superblock.state.contains(.errors))
    out.member("checkpoint", superblock.generation)
    out.member("mount_count", superblock.mountCount)
    out.member("created", time(superblock.createdSeconds))
    out.member("mounted", time(superblock.mountedSeconds))
    out.member("written", time(superblock.writtenSeconds))
    out.member("compatible_features", superblock.compatible)
    out.member("read_only_features", superblock.readOnlyCompatible)
    out.member("incompatible_features", superblock.incompatible)
    out.endObject()
    return out.finish()
  }

  /// ISO 8601 in UTC, empty for never.
  private static func time(_ seconds: Int64) -> String {
    guard seconds != 0 else { return "" }
    var clock = time_t(seconds)
    var fields = tm()
    guard gmtime_r(&clock, &fields) != nil else { return "" }
    var text = [CChar](repeating: 0, count: 64)
    strftime(&text, text.count, "%Y-%m-%dT%H:%M:%SZ", &fields)
    return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }

  /// An error of reading an image, without the device's offsets where the file itself is the trouble.
  static func text(_ error: FSError) -> String {
    switch error {
    case .device(.open, _, ENOTBLK): "is neither a regular file nor a block device"
    case .device(.open, _, let code): String(cString: strerror(code))
    default: error.description
    }
  }
}

/// A JSON object as indented lines, for people.
enum JSONText {
  private enum Value: Decodable {
    case null, flag(Bool), number(Int64), large(UInt64), text(String), list([Value]), object([String: Value])

    init(from decoder: any Decoder) throws {
      let value = try decoder.singleValueContainer()
      if value.decodeNil() {
        self = .null
      } else if let flag = try? value.decode(Bool.self) {
        self = .flag(flag)
      } else if let number = try? value.decode(Int64.self) {
        self = .number(number)
      } else if let number = try? value.decode(UInt64.self) {
        self = .large(number)
      } else if let text = try? value.decode(String.self) {
        self = .text(text)
      } else if let list = try? value.decode([Value].self) {
        self = .list(list)
      } else {
        self = .object(try value.decode([String: Value].self))
      }
    }
  }

  static func print(_ text: [UInt8]) throws {
    guard let value = try? JSONDecoder().decode(Value.self, from: Data(text)), case .object(let members) = value else {
      throw CommandError("info", "the daemon's answer is no JSON object")
    }
    print(members, indent: "")
  }

  private static func print(_ members: [String: Value], indent: String) {
    let width = members.keys.map(\.count).max() ?? 0
    for (name, value) in members.sorted(by: { $0.key < $1.key }) {
      let padding = String(repeating: " ", count: width - name.count)
      switch value {
      case .object(let inner):
        Swift.print("\(indent)\(name)")
        print(inner, indent: indent + "  ")
      default: Swift.print("\(indent)\(name)\(padding)  \(line(value, isSize: name.hasSuffix("bytes")))")
      }
    }
  }

  private static func line(_ value: Value, isSize: Bool) -> String {
    switch value {
    case .null: "-"
    case .flag(let flag): flag ? "yes" : "no"
    case .number(let number):
      isSize && number >= 0 ? "\(number) (\(ByteSize(bytes: UInt64(number))))" : "\(number)"
    case .large(let number): "\(number)"
    case .text(let text): text.isEmpty ? "-" : text.printable
    case .list(let list): list.map { line($0, isSize: false) }.joined(separator: ", ")
    case .object(let members):
      members.sorted { $0.key < $1.key }.map { "\($0.key)=\(line($0.value, isSize: false))" }.joined(separator: " ")
    }
  }
}
