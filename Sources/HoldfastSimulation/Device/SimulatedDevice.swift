/// A block device in memory that behaves as a disk with a volatile write cache may: what was written since the
/// last barrier is remembered in order, and `crashImage` decides write by write what survives a power cut.
///
/// The image holds the newest bytes. Every unsynced write keeps the bytes it replaced and the bytes it brought,
/// so that a crash image starts from what is certainly durable. A barrier forgets the list: it costs nothing.
///
/// Threads: one lock, every method.

import Glibc
import HoldfastBase
import HoldfastDevice

public final class SimulatedDevice: BlockDevice, @unchecked Sendable {
  /// What the device was asked to do since it was made.
  public struct Counters: Equatable, Sendable {
    public var reads: UInt64 = 0
    public var writes: UInt64 = 0
    public var barriers: UInt64 = 0
    public var bytesRead: UInt64 = 0
    public var bytesWritten: UInt64 = 0
    /// Errors injected.
    public var failures: UInt64 = 0
    public init() {}
  }

  /// A write no barrier has followed yet. The arena holds its old bytes, then its new ones.
  struct Unsynced {
    var offset: UInt64
    var count: Int
    var arenaOffset: Int
  }

  static let slabShift: UInt64 = 16
  static let slabBytes = 1 << 16

  let lock = Lock()
  let image: UnsafeMutableRawPointer
  /// True for every 64 KiB of the image that was ever written.
  var touched: [Bool]
  var unsynced: [Unsynced] = []
  /// Set for a device that can be rewound.
  var dirty: DirtyBlocks?
  /// What changes is kept here first, when there is one.
  var snapshot: DeviceSnapshot?
  /// Everything asked of it goes here, too, when there is one.
  var recording: DeviceRecording?
  private var arena: UnsafeMutableRawPointer
  private var arenaCapacity = 1 << 20
  private var arenaUsed = 0
  private var statistics = Counters()
  private var faults = DeviceFaults()
  private var eventsUntilPowerCut: Int?
  private var isOff = false
  private var leasedInodes: Set<InodeNumber> = []

  /// Bytes it can be extended to.
  let room: UInt64

  /// A zeroed device, which can be extended up to `room`. Memory is taken only for what is written.
  public init(byteCount: UInt64, room: UInt64 = 0) {
    self.room = max(byteCount, room)
    let pointer = mmap(
      nil, Int(self.room), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    precondition(pointer != MAP_FAILED, "mmap of \(self.room) bytes: errno \(errno)")
    image = pointer!
    touched = Array(repeating: false, count: Int((self.room + UInt64(Self.slabBytes) - 1) >> Self.slabShift))
    arena = .allocate(byteCount: arenaCapacity, alignment: 64)
    super.init(byteCount: byteCount)
  }

  deinit {
    munmap(image, Int(room))
    arena.deallocate()
  }

  // MARK: What the store calls

  public override func read(into buffer: UnsafeMutableRawBufferPointer, at offset: UInt64) throws(FSError) {
    lock.lock()
    defer { lock.unlock() }
    try check(.read, offset, buffer.count)
    guard let base = buffer.baseAddress, buffer.count > 0 else { return }
    statistics.reads += 1
    statistics.bytesRead += UInt64(buffer.count)
    memcpy(base, image + Int(offset), buffer.count)
    if !faults.isQuiet, let bit = faults.flippedBit(offset: offset, count: buffer.count) {
      base.storeBytes(
        of: base.load(fromByteOffset: bit >> 3, as: UInt8.self) ^ (1 << (bit & 7)), toByteOffset: bit >> 3,
        as: UInt8.self)
    }
  }

  public override func write(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) throws(FSError) {
    lock.lock()
    defer { lock.unlock() }
    try countPowerEvent()
    try check(.write, offset, bytes.count)
    guard bytes.count > 0 else { return }
    statistics.writes += 1
    statistics.bytesWritten += UInt64(bytes.count)
    guard !faults.isQuiet else { return store(bytes, at: offset) }
    switch faults.fateOfWrite(bytes, offset: offset) {
    case .lost: return
    case .misdirected(let target): store(bytes, at: min(target, byteCount - UInt64(bytes.count)))
    case .plain: store(bytes, at: offset)
    }
  }

  public override func barrier() throws(FSError) {
    lock.lock()
    defer { lock.unlock() }
    try countPowerEvent()
    do throws(FSError) {
      try check(.barrier, 0, 0)
    } catch {
      if faults.failedBarriersLose, !isOff { loseUnsynced() }
      throw error
    }
    statistics.barriers += 1
    if !faults.isQuiet && faults.ignoresThisBarrier() { return }
    faults.noteBarrier()
    recording?.noteBarrier()
    unsynced.removeAll(keepingCapacity: true)
    arenaUsed = 0
  }

  /// The length is metadata of whoever keeps the image, made durable by a call of its own: it is durable on return.
  public override func extend(to byteCount: UInt64) throws(FSError) {
    lock.lock()
    defer { lock.unlock() }
    try countPowerEvent()
    try check(.resize, 0, 0)
    guard byteCount <= room else { throw .deviceTooSmall(byteCount: room) }
    setLength(max(byteCount, self.byteCount))
  }

  public override func cut(to byteCount: UInt64) throws(FSError) {
    lock.lock()
    defer { lock.unlock() }
    try countPowerEvent()
    try check(.resize, 0, 0)
    setLength(min(byteCount, self.byteCount))
  }

  public override func currentByteCount() -> UInt64 { byteCount }

  public override func lease(within inodes: ClosedRange<InodeNumber>) -> Lease? {
    lock.withLock { leasedInodes.first(where: inodes.contains).map { Lease(inodes: $0...$0) } }
  }

  // MARK: Looking at it, setting it up

  /// Inodes that somebody leases, until the device is rewound or begins from a crash image.
  public var leased: Set<InodeNumber> {
    get { lock.withLock { leasedInodes } }
    set { lock.withLock { leasedInodes = newValue } }
  }

  public var counters: Counters { lock.withLock { statistics } }

  /// Writes that a crash now could lose.
  public var unsyncedWrites: Int { lock.withLock { unsynced.count } }

  /// A journal record was lost, and a crash could no longer hide it: records behind it are durable.
  var lossIsEvident: Bool { lock.withLock { faults.lossIsEvident } }

  /// Calls `body` with the newest bytes; no fault strikes.
  func peek<Result>(at offset: UInt64, count: Int, _ body: (UnsafeRawBufferPointer) -> Result) -> Result {
    lock.withLock { body(UnsafeRawBufferPointer(start: image + Int(offset), count: count)) }
  }

  /// Runs `body` on the faults to inject from now on.
  public func injectFaults(_ body: (inout DeviceFaults) -> Void) { lock.withLock { body(&faults) } }

  /// Cuts the power before the `events`-th write or barrier from now (0: the next one): it and everything later fails with EIO.
  public func cutPower(beforeEvent events: Int) { lock.withLock { eventsUntilPowerCut = events } }

  /// Takes back a power cut that has not happened yet.
  public func keepPower() { lock.withLock { eventsUntilPowerCut = nil } }

  /// Cuts the power now.
  public func cutPower() { lock.withLock { isOff = true } }

  /// True once the power is gone; only `crashImage` makes sense then.
  public var isPowerOff: Bool { lock.withLock { isOff } }

  /// Changes bytes behind the store's back, durable at once: for tests of damage.
  public func corrupt(at offset: UInt64, _ body: (UnsafeMutableRawBufferPointer) -> Void, count: Int) {
    lock.lock()
    defer { lock.unlock() }
    precondition(offset + UInt64(count) <= byteCount)
    markTouched(offset, count)
    body(UnsafeMutableRawBufferPointer(start: image + Int(offset), count: count))
  }

  // MARK: Inside, under the lock

  private func store(_ bytes: UnsafeRawBufferPointer, at offset: UInt64) {
    let count = bytes.count
    recording?.noteWrite(bytes, at: offset)
    growArena(by: 2 * count)
    memcpy(arena + arenaUsed, image + Int(offset), count)
    memcpy(arena + arenaUsed + count, bytes.baseAddress!, count)
    unsynced.append(Unsynced(offset: offset, count: count, arenaOffset: arenaUsed))
    arenaUsed += 2 * count
    put(bytes.baseAddress!, at: offset, count)
  }

  private func setLength(_ byteCount: UInt64) {
    recording?.noteLength(byteCount)
    noteByteCount(byteCount)
  }

  /// Changes the image.
  func put(_ bytes: UnsafeRawPointer, at offset: UInt64, _ count: Int) {
    markTouched(offset, count)
    memcpy(image + Int(offset), bytes, count)
  }

  /// To be called before bytes change.
  func markTouched(_ offset: UInt64, _ count: Int) {
    guard count > 0 else { return }
    snapshot?.keep(image, offset, count)
    dirty?.note(offset, count)
    for slab in Int(offset >> Self.slabShift)...Int((offset + UInt64(count) - 1) >> Self.slabShift) {
      touched[slab] = true
    }
  }

  /// Bytes the write replaced.
  func oldBytes(_ write: Unsynced) -> UnsafeRawPointer { UnsafeRawPointer(arena + write.arenaOffset) }
  /// Bytes the write brought.
  func newBytes(_ write: Unsynced) -> UnsafeRawPointer { UnsafeRawPointer(arena + write.arenaOffset + write.count) }

  /// Every byte no barrier followed is what it was before.
  func loseUnsynced() {
    for write in unsynced.reversed() { put(oldBytes(write), at: write.offset, write.count) }
    unsynced.removeAll(keepingCapacity: true)
    arenaUsed = 0
  }

  /// Forgets what it was asked and what it was to do wrong.
  func becomeNew() {
    unsynced.removeAll(keepingCapacity: true)
    arenaUsed = 0
    statistics = Counters()
    faults = DeviceFaults()
    eventsUntilPowerCut = nil
    isOff = false
    recording = nil
    leasedInodes = []
  }

  private func growArena(by count: Int) {
    guard arenaUsed + count > arenaCapacity else { return }
    var capacity = arenaCapacity
    while capacity < arenaUsed + count { capacity *= 2 }
    let larger = UnsafeMutableRawPointer.allocate(byteCount: capacity, alignment: 64)
    memcpy(larger, arena, arenaUsed)
    arena.deallocate()
    arena = larger
    arenaCapacity = capacity
  }

  private func countPowerEvent() throws(FSError) {
    guard let left = eventsUntilPowerCut, !isOff else { return }
    if left == 0 {
      isOff = true
    } else {
      eventsUntilPowerCut = left - 1
    }
  }

  private func check(_ operation: FSError.DeviceOperation, _ offset: UInt64, _ count: Int) throws(FSError) {
    if isOff { throw .device(operation: operation, byteOffset: offset, errno: EIO) }
    guard offset <= byteCount, UInt64(count) <= byteCount - offset else {
      throw .device(operation: operation, byteOffset: offset, errno: EINVAL)
    }
    if !faults.isQuiet && faults.fails(operation, offset: offset, count: count) {
      statistics.failures += 1
      throw .device(operation: operation, byteOffset: offset, errno: EIO)
    }
  }
}
