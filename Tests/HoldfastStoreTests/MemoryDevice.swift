import Glibc
import HoldfastBase
import HoldfastDevice
import Synchronization

/// A device in memory that counts what is asked of it, fails where it is told to, and can lose its power.
final class MemoryDevice: BlockDevice, @unchecked Sendable {
  /// Zeros until written to; pages nobody touches take no memory.
  let memory: Memory

  final class Memory: @unchecked Sendable {
    let bytes: UnsafeMutableRawBufferPointer

    init(byteCount: Int) {
      let start = mmap(nil, byteCount, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
      precondition(start != MAP_FAILED, "mmap of \(byteCount) bytes")
      bytes = UnsafeMutableRawBufferPointer(start: start, count: byteCount)
    }

    deinit { munmap(bytes.baseAddress, bytes.count) }
  }

  let barriers = Atomic<Int>(0)
  let bytesWritten = Atomic<Int>(0)
  let bytesRead = Atomic<Int>(0)
  let leaseQuestions = Atomic<Int>(0)

  /// What was asked of it so far.
  var work: (barriers: Int, bytes: Int) {
    (barriers.load(ordering: .relaxed), bytesWritten.load(ordering: .relaxed))
  }

  /// One thing the engine asks for; a barrier has no bytes.
  struct Request {
    var operation: FSError.DeviceOperation
    var bytes: Range<UInt64>

    /// A write or a barrier.
    var isChange: Bool { operation == .write || operation == .barrier }
  }

  /// The errno a request is to fail with; nil lets it through.
  typealias Fault = @Sendable (Request) -> Int32?

  private let lock = Lock()
  private var currentFault: Fault?
  /// What the writes since the last barrier replaced, when power may be lost.
  private var replaced: [(offset: Int, bytes: [UInt8])] = []
  private var remembers = false
  private var leasedInodes: Set<InodeNumber> = []

  /// It can be extended up to `room`.
  init(mebibytes: Int, room: Int = 0) {
    memory = Memory(byteCount: max(mebibytes, room) << 20)
    super.init(byteCount: UInt64(mebibytes) << 20)
  }

  var fault: Fault? {
    get { lock.withLock { currentFault } }
    set { lock.withLock { currentFault = newValue } }
  }

  /// Inodes that somebody leases.
  var leased: Set<InodeNumber> {
    get { lock.withLock { leasedInodes } }
    set { lock.withLock { leasedInodes = newValue } }
  }

  /// From now on `losePower` takes back what no barrier has followed.
  func rememberUnsyncedWrites() { lock.withLock { remembers = true } }

  /// The worst a power cut may do: nothing that was written since the last barrier is there.
  func losePower() {
    lock.withLock {
      for write in replaced.reversed() {
        UnsafeMutableRawBufferPointer(rebasing: memory.bytes[write.offset...]).copyBytes(from: write.bytes)
      }
      replaced = []
    }
  }

  private func check(_ operation: FSError.DeviceOperation, _ offset: UInt64, _ count: Int) throws(FSError) {
    let request = Request(operation: operation, bytes: offset..<offset + UInt64(count))
    if let errno = fault?(request) { throw .device(operation: operation, byteOffset: offset, errno: errno) }
    precondition(operation == .findLock || operation == .resize || request.bytes.upperBound <= byteCount, "\(request)")
  }

  override func extend(to byteCount: UInt64) throws(FSError) {
    try check(.resize, byteCount, 0)
    guard byteCount <= UInt64(memory.bytes.count) else { throw .deviceTooSmall(byteCount: UInt64(memory.bytes.count)) }
    noteByteCount(max(byteCount, self.byteCount))
  }

  /// What is cut off is overwritten: nobody may build on it.
  override func cut(to byteCount: UInt64) throws(FSError) {
    try check(.resize, byteCount, 0)
    memset(memory.bytes.baseAddress! + Int(byteCount), 0xee, Int(self.byteCount - byteCount))
    noteByteCount(byteCount)
  }

  override func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) {
    try check(.read, offset, buffer.count)
    bytesRead.add(buffer.count, ordering: .relaxed)
    buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory.bytes[Int(offset)..<Int(offset) + buffer.count]))
  }

  override func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) {
    try check(.write, offset, bytes.count)
    bytesWritten.add(bytes.count, ordering: .relaxed)
    let place = UnsafeMutableRawBufferPointer(rebasing: memory.bytes[Int(offset)..<Int(offset) + bytes.count])
    lock.withLock {
      if remembers { replaced.append((Int(offset), Array(place))) }
      place.copyMemory(from: bytes)
    }
  }

  override func barrier() throws(FSError) {
    try check(.barrier, 0, 0)
    barriers.add(1, ordering: .relaxed)
    lock.withLock { replaced = [] }
  }

  override func lease(within inodes: ClosedRange<InodeNumber>) throws(FSError) -> Lease? {
    leaseQuestions.add(1, ordering: .relaxed)
    try check(.findLock, Lease.byteOffset + inodes.lowerBound, 0)
    return lock.withLock { leasedInodes.first(where: inodes.contains).map { Lease(inodes: $0...$0) } }
  }
}
