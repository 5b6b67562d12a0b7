/// What a simulated device does wrong, by switch. Counts are of operations from the moment a switch is set.

import HoldfastBase
import HoldfastFormat

/// A write of metadata that goes wrong: it is acknowledged and lost, or lands somewhere else.
struct MetadataWriteFault: Sendable {
  /// Types of blocks (docs/FORMAT.md) it strikes.
  var types: Set<UInt16>
  /// So many of them pass first.
  var after: Int
  /// Misdirected to this block, as near as the write fits into `within`; nil: lost.
  var to: BlockNumber?
  var within = BlockRange(start: 0, count: 0)
}

public struct DeviceFaults: Sendable {
  /// When an operation fails with EIO.
  public enum Failure: Sendable {
    /// The nth from now (0 is the next), once.
    case nth(Int)
    /// Whatever touches these bytes (a barrier touches none).
    case range(Range<UInt64>)
    case always
  }

  public var reads: Failure?
  public var writes: Failure?
  public var barriers: Failure?
  /// A barrier that fails loses what it was to make durable, as Linux does: what is read afterwards is the old bytes.
  public var failedBarriersLose = false
  /// The barrier returns success and makes nothing durable.
  public var ignoresBarriers = false
  /// Likewise, but only the nth barrier from now on of every so many.
  public var ignoredBarrier: (nth: Int, ofEvery: Int)?
  /// The nth write from now is acknowledged and never happens.
  public var lostWrite: Int?
  /// And so is every nth from then on.
  public var losesEvery: Int?
  /// The nth write from now lands at this byte offset instead.
  public var misdirectedWrite: (nth: Int, to: UInt64)?
  /// Reads that cover this byte see this bit of it flipped.
  public var flippedBit: (byteOffset: UInt64, bit: Int)?

  /// Strikes once.
  var metadataWrite: MetadataWriteFault?
  /// A journal record was lost; and there are records behind it, durable ones.
  private(set) var lostRecord = false
  private(set) var recordsBehindLoss = 0
  private(set) var lossIsEvident = false

  /// While it is true nothing strikes and nothing is counted: for looking at a volume without disturbing it.
  public var areSuspended = false

  public init() {}

  mutating func ignoresThisBarrier() -> Bool {
    if ignoresBarriers { return true }
    guard let (left, period) = ignoredBarrier else { return false }
    ignoredBarrier = (left == 0 ? period - 1 : left - 1, period)
    return left == 0
  }

  enum WriteFate { case plain, lost, misdirected(UInt64) }

  /// Nothing is switched on: the quick path.
  var isQuiet: Bool {
    areSuspended
      || reads == nil && writes == nil && barriers == nil && !ignoresBarriers && ignoredBarrier == nil
        && lostWrite == nil
        && misdirectedWrite == nil && flippedBit == nil && metadataWrite == nil && !lostRecord
  }

  mutating func fails(_ operation: FSError.DeviceOperation, offset: UInt64, count: Int) -> Bool {
    switch operation {
    case .read: Self.strikes(&reads, offset, count)
    case .write: Self.strikes(&writes, offset, count)
    case .barrier: Self.strikes(&barriers, offset, count)
    case .open, .findLock, .resize: false
    }
  }

  private static func strikes(_ failure: inout Failure?, _ offset: UInt64, _ count: Int) -> Bool {
    switch failure {
    case nil: return false
    case .always: return true
    case .range(let range): return count > 0 && range.overlaps(offset..<offset + UInt64(count))
    case .nth(let left):
      failure = left == 0 ? nil : .nth(left - 1)
      return left == 0
    }
  }

  mutating func noteBarrier() { if recordsBehindLoss > 0 { lossIsEvident = true } }

  mutating func fateOfWrite(_ bytes: UnsafeRawBufferPointer, offset: UInt64) -> WriteFate {
    if let type = Self.metadataType(bytes, offset) {
      if lostRecord, type == BlockType.journal.rawValue { recordsBehindLoss += 1 }
      if let fate = strike(type, bytes.count) { return fate }
    }
    return fateOfWrite(offset: offset, count: bytes.count)
  }

  /// The type of block the write begins with, when it is metadata.
  private static func metadataType(_ bytes: UnsafeRawBufferPointer, _ offset: UInt64) -> UInt16? {
    guard bytes.count >= Block.size, offset % UInt64(Block.size) == 0, let block = bytes.baseAddress,
      block.u32(4) == BlockHeader.magic
    else { return nil }
    return block.u16(8)
  }

  private mutating func strike(_ type: UInt16, _ count: Int) -> WriteFate? {
    guard let fault = metadataWrite, fault.types.contains(type) else { return nil }
    guard fault.after == 0 else {
      metadataWrite?.after -= 1
      return nil
    }
    metadataWrite = nil
    if type == BlockType.journal.rawValue { lostRecord = true }
    let blocks = UInt64(count >> Block.shift)
    guard let target = fault.to, blocks <= fault.within.count else { return .lost }
    return .misdirected(min(target, fault.within.end - blocks) << UInt64(Block.shift))
  }

  private mutating func fateOfWrite(offset: UInt64, count: Int) -> WriteFate {
    if let left = lostWrite {
      lostWrite = left == 0 ? losesEvery.map { $0 - 1 } : left - 1
      if left == 0 { return .lost }
    }
    if let (left, target) = misdirectedWrite {
      misdirectedWrite = left == 0 ? nil : (left - 1, target)
      if left == 0 { return .misdirected(target) }
    }
    return .plain
  }

  /// Bit index within a read of `count` bytes at `offset`, when the flipped bit lies in it.
  func flippedBit(offset: UInt64, count: Int) -> Int? {
    guard let (byte, bit) = flippedBit, byte >= offset, byte < offset + UInt64(count) else { return nil }
    return Int(byte - offset) * 8 + bit
  }
}
