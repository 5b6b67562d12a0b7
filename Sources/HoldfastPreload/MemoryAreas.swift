/// Which parts of this process's memory are mapped from a file: /proc/self/maps, proc(5).

import CPreload

struct MemoryArea {
  var address: UInt
  var length: UInt64
  /// In the file.
  var offset: UInt64
  var protection: Int32
}

struct MemoryAreas: ~Copyable {
  private(set) var count = 0
  private var capacity = 64
  private var areas: UnsafeMutablePointer<MemoryArea>

  subscript(index: Int) -> MemoryArea { areas[index] }

  deinit { areas.deallocate() }

  /// The shared ones. nil when there is no /proc.
  init?(device: UInt64, inode: UInt64) {
    areas = .allocate(capacity: capacity)
    let file = holdfast_raw_open("/proc/self/maps", O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { holdfast_direct_close(file) }
    let room = 8192
    let text = UnsafeMutablePointer<UInt8>.allocate(capacity: room)
    defer { text.deallocate() }
    var held = 0
    while true {
      let got = Int(holdfast_raw_read(file, text + held, room - held))
      if got <= 0 { break }
      held += got
      var start = 0
      var position = 0
      while position < held {
        if text[position] == UInt8(ascii: "\n") {
          add(line: UnsafeBufferPointer(start: text + start, count: position - start), device, inode)
          start = position + 1
        }
        position += 1
      }
      // The beginning of a line; one that does not fit is no file's with a name of ours, its rest no line.
      if start == 0 && held == room { start = held }
      for index in start..<held { text[index - start] = text[index] }
      held -= start
    }
  }

  /// "start-end rwxs offset major:minor inode path"
  private mutating func add(line: UnsafeBufferPointer<UInt8>, _ device: UInt64, _ inode: UInt64) {
    var fields = LineReader(line: line)
    guard let start = fields.number(16), fields.skip(), let end = fields.number(16), fields.skip(), end > start else {
      return
    }
    let isReadable = fields.next() == UInt8(ascii: "r")
    let isWritable = fields.next() == UInt8(ascii: "w")
    let isExecutable = fields.next() == UInt8(ascii: "x")
    guard fields.next() == UInt8(ascii: "s"), fields.skip(), let offset = fields.number(16), fields.skip(),
      let major = fields.number(16), fields.skip(), let minor = fields.number(16), fields.skip(),
      let number = fields.number(10)
    else { return }
    guard number == inode,
      holdfast_device(UInt32(truncatingIfNeeded: major), UInt32(truncatingIfNeeded: minor)) == device
    else { return }
    if count == capacity { grow() }
    let protection =
      (isReadable ? PROT_READ : 0) | (isWritable ? PROT_WRITE : 0) | (isExecutable ? PROT_EXEC : 0)
    (areas + count).initialize(
      to: MemoryArea(address: UInt(start), length: end - start, offset: offset, protection: protection))
    count += 1
  }

  private mutating func grow() {
    let larger = UnsafeMutablePointer<MemoryArea>.allocate(capacity: capacity * 2)
    larger.moveInitialize(from: areas, count: count)
    areas.deallocate()
    areas = larger
    capacity *= 2
  }
}

private struct LineReader {
  let line: UnsafeBufferPointer<UInt8>
  var position = 0

  init(line: UnsafeBufferPointer<UInt8>) { self.line = line }

  mutating func next() -> UInt8 {
    guard position < line.count else { return 0 }
    position += 1
    return line[position - 1]
  }

  mutating func skip() -> Bool { next() != 0 }

  mutating func number(_ base: UInt64) -> UInt64? {
    var value: UInt64 = 0
    let start = position
    while position < line.count, let digit = Self.digit(line[position]), digit < base {
      value = value &* base &+ digit
      position += 1
    }
    return position > start ? value : nil
  }

  private static func digit(_ byte: UInt8) -> UInt64? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
    case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a") + 10)
    default: nil
    }
  }
}
