import CFuse3
import CHoldfast
import Glibc
import HoldfastBase
import HoldfastCheck
import HoldfastFormat
import HoldfastFuzz
import HoldfastSeal
import HoldfastSimulation
import HoldfastStore
import Logging
import Testing

@testable import HoldfastFuse

/// What unprivileged callers pass in, in any shape: specifications of seals, names of attributes, options, structures
/// of ioctls. Nothing traps, and what is accepted says the same when it is written out. HOLDFAST_FUZZ_SEED repeats a run.
@Suite struct HostileRequests {
  private static let runs = 20_000
  private let seed: UInt64 =
    getenv("HOLDFAST_FUZZ_SEED").flatMap { UInt64(String(cString: $0)) } ?? .random(in: 0..<1 << 60)

  /// Words in a row, some of them broken.
  private func text(_ words: [String], _ random: inout SeededRandom) -> [UInt8] {
    var bytes: [UInt8] = []
    for _ in 0..<random.below(7) {
      var word = Array(random.pick(words).utf8)
      switch random.below(6) {
      case 0 where !word.isEmpty: word[random.below(word.count)] = UInt8(random.below(256))
      case 1: word.insert(UInt8(random.below(256)), at: random.below(word.count + 1))
      case 2 where !word.isEmpty: word.remove(at: random.below(word.count))
      default: break
      }
      bytes += word
      if !random.oneIn(4) { bytes.append(UInt8(ascii: ",")) }
    }
    if bytes.last == UInt8(ascii: ","), !random.oneIn(8) { bytes.removeLast() }
    return bytes
  }

  private static let numbers = [
    "0", "1", "7", "4095", "4294967295", "4294967296", "9223372036854775807", "18446744073709551615",
    "18446744073709551616", "99999999999999999999999", "-1", "00000000001", "8388607T", "1K", "9G", "",
  ]

  @Test func sealSpecifications() {
    print("fuzz seed \(seed)")
    var random = SeededRandom(seed: seed)
    let plain = ["1", "hard", "breakable", "persistent", "fill", "as-is", "pid", "ttl", "range", "=", "+", ","]
    let valued = ["breakable=", "pid=", "ttl=", "range="].flatMap { key in Self.numbers.map { key + $0 } }
    let ranges = Self.numbers.flatMap { first in Self.numbers.map { "range=\(first)+\($0)" } }
    var accepted = 0
    for _ in 0..<Self.runs {
      let bytes = text(random.oneIn(2) ? plain : random.oneIn(2) ? plain + valued : ranges + plain, &random)
      guard let specification = try? bytes.withUnsafeBytes({ try SealSpecification(parsing: $0) }) else { continue }
      accepted += 1
      #expect((try? SealSpecification(parsing: specification.text)) == specification, "seed \(seed): \(bytes)")
    }
    #expect(accepted > Self.runs / 100)
  }

  @Test func mountOptions() {
    print("fuzz seed \(seed)")
    var random = SeededRandom(seed: seed)
    let plain = [
      "ro", "rw", "allow_other", "noatime", "relatime", "direct", "nosuid", "sync", "_netdev", "x-systemd.automount",
    ]
    let valued = ["cache=", "commit=", "grace=", "errors=", "seal_policy="].flatMap { key in
      (Self.numbers + ["64M", "shutdown", "remount-ro", "owner", "admin"]).map { key + $0 }
    }
    var accepted = 0
    for _ in 0..<Self.runs {
      let list = String(decoding: text(random.oneIn(2) ? plain : plain + valued, &random), as: UTF8.self)
      guard let options = try? MountOptions(parsing: list) else { continue }
      accepted += 1
      #expect((try? MountOptions(parsing: options.list)) == options, "seed \(seed): \(list)")
      _ = options.storeOptions
    }
    #expect(accepted > Self.runs / 100)
  }

  @Test func attributeNames() {
    print("fuzz seed \(seed)")
    var random = SeededRandom(seed: seed)
    let words = [
      "holdfast.", "holdfast.seal", "holdfast.seal.", "seal", ".", "seal.", "holders", "extents", "stats", "a", "-_",
      "user.", "\u{e4}", "\0",
    ]
    var named = 0
    for _ in 0..<Self.runs {
      let bytes = text(words, &random).filter { $0 != UInt8(ascii: ",") }
      let isOurs = bytes.starts(with: Array("holdfast.".utf8))
      let attribute = bytes.withUnsafeBytes { VirtualAttribute($0) }
      #expect((attribute != nil) == isOurs, "seed \(seed): \(bytes)")
      guard case .seal(let name)? = attribute else { continue }
      named += 1
      let expected = "holdfast.seal" + (name.isEmpty ? "" : "." + name)
      #expect(SealName.isValidOrDefault(name) && Array(expected.utf8) == bytes, "seed \(seed): \(bytes)")
    }
    #expect(named > Self.runs / 1000)
  }

  // MARK: ioctl

  private static let commands: [(command: UInt32, size: Int)] = [
    (holdfast_ioc_seal, MemoryLayout<holdfast_seal>.size), (holdfast_ioc_unseal, MemoryLayout<holdfast_seal>.size),
    (holdfast_ioc_pin, MemoryLayout<holdfast_seal>.size), (holdfast_ioc_unpin, MemoryLayout<holdfast_seal>.size),
    (holdfast_ioc_prepare, MemoryLayout<holdfast_prepare>.size),
    (holdfast_ioc_defrag, MemoryLayout<holdfast_defrag>.size),
    (holdfast_ioc_layout_get, MemoryLayout<holdfast_layout>.size),
    (holdfast_ioc_layout_return, MemoryLayout<holdfast_layout_return>.size),
    (holdfast_ioc_recall_status, MemoryLayout<holdfast_recall_status>.size),
    (holdfast_ioc_holders, MemoryLayout<holdfast_json>.size), (holdfast_ioc_seals, MemoryLayout<holdfast_json>.size),
    (holdfast_ioc_info, MemoryLayout<holdfast_json>.size), (holdfast_ioc_map, MemoryLayout<holdfast_map>.size),
    (holdfast_ioc_revoke, MemoryLayout<holdfast_revoke>.size), (holdfast_ioc_sync, MemoryLayout<holdfast_sync>.size),
    (holdfast_ioc_remount, MemoryLayout<holdfast_remount>.size),
    (holdfast_ioc_resize, MemoryLayout<holdfast_resize>.size), (holdfast_fs_ioc_getflags, 8),
    (holdfast_fs_ioc_setflags, 8), (holdfast_fs_ioc_fsgetxattr, MemoryLayout<fsxattr>.size),
    (holdfast_fs_ioc_fssetxattr, MemoryLayout<fsxattr>.size), (0xdead_beef, 16),
  ]

  /// A structure of about the right size, mostly with our version, its words zeros, small, edges or noise.
  private func structure(_ size: Int, _ random: inout SeededRandom) -> [UInt8] {
    let count = random.oneIn(20) ? random.below(2 * size + 1) : size
    var bytes = [UInt8](repeating: 0, count: count)
    for at in stride(from: 0, to: count - 4, by: 4) {
      let word: UInt32
      switch random.below(at > 128 ? 200 : 8) {
      case 0: word = UInt32(random.below(64))
      case 1: word = random.pick([.max, .max - 1, 0x8000_0000, 0x7fff_ffff, 4096])
      case 2: word = UInt32(truncatingIfNeeded: random.next())
      default: word = 0
      }
      bytes.withUnsafeMutableBytes { $0.storeBytes(of: word, toByteOffset: at, as: UInt32.self) }
    }
    if !random.oneIn(20), count >= 4 {
      bytes.withUnsafeMutableBytes { $0.storeBytes(of: UInt32(HOLDFAST_ABI_VERSION), as: UInt32.self) }
    }
    return bytes
  }

  @Test func controlStructures() throws {
    print("fuzz seed \(seed)")
    var random = SeededRandom(seed: seed)
    let memory = ImageMemory(try GoldenImages.image("v1-clean"))
    var options = StoreOptions()
    options.backgroundThread = false
    let store = try Store(mounting: FuzzDevice(memory), options: options)
    let logger = Logger(label: "fuzz") { _ in SwiftLogNoOpLogHandler() }
    let session = MountSession(
      store: store, image: "/image", mountPoint: "/mnt", options: MountOptions(), log: SessionLog(logger))
    // Files, directories, devices and inodes there are none of; handles open for writing, for reading and not at all.
    let inodes = Array(InodeNumber(1)...110)
    let handles = [0, .max] + [O_RDONLY, O_RDWR].map { session.handles.insert(Handle(inode: 20, flags: $0)) }
    var answered = 0
    for _ in 0..<Self.runs {
      let (command, size) = random.pick(Self.commands)
      let input = structure(size, &random)
      let caller = Credentials(uid: UInt32(random.pick([0, 0, 1000])), gid: 0, pid: getpid())
      let answer = input.withUnsafeBytes { raw -> ControlAnswer? in
        let call = ControlCall(inode: random.pick(inodes), handle: random.pick(handles), input: raw, caller: caller)
        return try? session.answer(command, call)
      }
      guard let answer else { continue }
      answered += 1
      // The kernel copies out as much as the number of the command says.
      #expect(answer.bytes.count <= max(input.count, size), "seed \(seed): command \(command)")
    }
    #expect(answered > Self.runs / 100)
    session.processWatcher.stop()
    try store.unmount()
    var checker = Checker(device: FuzzDevice(memory, readOnly: true))
    #expect(checker.run().issues.map(\.message) == [], "seed \(seed)")
  }
}
