/// What is on the platter after a power cut. Writes before the last barrier are all there. Of the others each
/// one, independently, is there, is not, or is there in some of its 512-byte sectors, and they may have reached the
/// medium in any order: an earlier one may win over a later one where both were unsynced. A sector is atomic.

import Glibc
import HoldfastBase

extension SimulatedDevice {
  public static let sectorBytes: UInt64 = 512

  /// The manner of one crash. Extremes are drawn often: bugs sit there.
  enum CrashManner: Int, CaseIterable {
    case nothingSurvives, everythingSurvives, prefixSurvives, lastIsTorn, mostSurvive, fewSurvive, anySurvive
  }

  /// A new device that holds what survives if the power goes now. This one is unchanged.
  public func crashImage(seed: UInt64) -> SimulatedDevice {
    lock.lock()
    defer { lock.unlock() }
    let copy = copyOfImage()
    copy.keepSurvivors(of: self, seed: seed)
    return copy
  }

  /// The power goes and comes back: this device holds what survived, and forgot its faults.
  public func crash(seed: UInt64) {
    lock.lock()
    defer { lock.unlock() }
    keepSurvivors(of: self, seed: seed)
    becomeNew()
  }

  private func keepSurvivors(of source: SimulatedDevice, seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let unsynced = source.unsynced
    for write in unsynced.reversed() { put(source.oldBytes(write), at: write.offset, write.count) }
    let manner = CrashManner.allCases[random.below(CrashManner.allCases.count)]
    switch manner {
    case .nothingSurvives: break
    case .everythingSurvives:
      for write in unsynced { persist(write, from: source) }
    case .prefixSurvives:
      for write in unsynced.prefix(random.below(unsynced.count + 1)) { persist(write, from: source) }
    case .lastIsTorn:
      for write in unsynced.dropLast() { persist(write, from: source) }
      if let last = unsynced.last { tear(last, from: source, survivors: 50, &random) }
    case .mostSurvive: scatter(from: source, percent: 90, &random)
    case .fewSurvive: scatter(from: source, percent: 15, &random)
    case .anySurvive: scatter(from: source, percent: 50, &random)
    }
  }

  /// A new device with the newest bytes, all of them durable: a clean power-down.
  public func syncedCopy() -> SimulatedDevice {
    lock.lock()
    defer { lock.unlock() }
    return copyOfImage()
  }

  private func copyOfImage() -> SimulatedDevice {
    let copy = SimulatedDevice(byteCount: byteCount, room: room)
    copy.touched = touched
    for slab in touched.indices where touched[slab] {
      let start = slab << Int(Self.slabShift)
      memcpy(copy.image + start, image + start, min(Self.slabBytes, Int(room) - start))
    }
    return copy
  }

  /// Writes survive by `percent`, a third of the survivors torn, half of the time in any order.
  private func scatter(from source: SimulatedDevice, percent: Int, _ random: inout SeededRandom) {
    var order = source.unsynced
    if random.oneIn(2) { order.shuffle(using: &random) }
    for write in order where random.below(100) < percent {
      if random.oneIn(3) {
        tear(write, from: source, survivors: random.between(10, 90), &random)
      } else {
        persist(write, from: source)
      }
    }
  }

  private func persist(_ write: Unsynced, from source: SimulatedDevice) {
    put(source.newBytes(write), at: write.offset, write.count)
  }

  private func tear(
    _ write: Unsynced, from source: SimulatedDevice, survivors percent: Int, _ random: inout SeededRandom
  ) {
    let end = write.offset + UInt64(write.count)
    var at = write.offset
    while at < end {
      let sectorEnd = min(end, (at / Self.sectorBytes + 1) * Self.sectorBytes)
      if random.below(100) < percent {
        put(source.newBytes(write) + Int(at - write.offset), at: at, Int(sectorEnd - at))
      }
      at = sectorEnd
    }
  }
}
