/// A device stress under way: operations one after the other and, now and then, a *stretch* in which the device damages
/// metadata: bits flip at rest, a write is acknowledged and dropped, or lands somewhere else.
///
/// In a stretch an operation may fail with an honest error (EIO, EROFS); what it serves must be right. The stretch
/// ends when damage is met, or after so many operations; then all is compared and the check has its say: what the
/// engine cannot read the check must find, and a volume the check calls sound must hold everything. What the check finds
/// the repair must mend. Then the volume is what it was before the stretch, unless no harm was done.

import HoldfastBase
import HoldfastCheck

/// What happens to metadata. The number stands in logs.
enum MediaFault: Int, CaseIterable {
  /// A bit of a block in use, while the volume is not mounted, and while it is.
  case flipUnmounted, flipMounted
  /// A write of tree nodes or of the chunk map.
  case lostNodes, misdirectedNodes
  /// A superblock's copy; a journal record. Such a loss with a crash behind it is one of the last commit, which nobody
  /// can tell from a commit that never was: power cuts wait until a later record makes it evident.
  case lostSuperblock, lostRecord
}

final class DeviceSession {
  let target: StoreTarget
  private(set) var runner: StressRunner<StoreTarget>
  private var past = StressCounts()
  private var stretch: Stretch?

  private struct Stretch {
    let fault: MediaFault
    /// The state that comes back.
    let model: ModelFilesystem
    /// Operations until it is over, and until the volume is mounted anew, so that all is read from the device.
    var left: Int
    let remountsAt: Int
  }

  init(target: StoreTarget, model: ModelFilesystem) {
    self.target = target
    runner = StressRunner(target: target, model: model)
  }

  var model: ModelFilesystem { runner.model }

  var counts: StressCounts {
    var counts = past
    counts.add(runner.counts)
    return counts
  }

  func step(_ operation: Operation, index: Int) throws(StressFailure) {
    if case .mediaFault(let kind, let choice, let length) = operation {
      return try runner.located(at: index) { () throws(StressFailure) in
        try endStretch()
        if let fault = MediaFault(rawValue: kind) { try begin(fault, choice, length) }
      }
    }
    guard stretch != nil else { return try runner.step(operation, index: index) }
    guard !isForbidden(operation) else { return }
    try meetingDamage { () throws(StressFailure) in
      try runner.step(operation, index: index)
      stretch?.left -= 1
      if let stretch, stretch.left == stretch.remountsAt { try runner.step(.remount, index: index) }
    }
    if let stretch, stretch.left <= 0 {
      try runner.located(at: index) { () throws(StressFailure) in try endStretch() }
    }
  }

  func finish(index: Int) throws(StressFailure) {
    try runner.located(at: index) { () throws(StressFailure) in try endStretch() }
    try runner.finish(index: index, remounting: true)
  }

  // MARK: Stretches

  private func isForbidden(_ operation: Operation) -> Bool {
    guard let stretch else { return false }
    switch operation {
    case .deviceError: return true
    case .crash:
      switch stretch.fault {
      case .lostSuperblock: return true
      case .lostRecord: return !target.device.lossIsEvident
      default: return false
      }
    default: return false
    }
  }

  private func begin(_ fault: MediaFault, _ choice: Int, _ length: Int) throws(StressFailure) {
    target.keepPower()
    try runner.step(.remount, index: 0)
    target.device.takeSnapshot()
    stretch = Stretch(
      fault: fault, model: ModelFilesystem(copying: model), left: max(2, length), remountsAt: max(2, length) / 2)
    target.isDamaged = true
    past.mediaFaults += 1
    guard let survey = MetadataSurvey(target.device), !survey.used.isEmpty else {
      throw StressFailure(.environment, "there is no metadata to damage")
    }
    let random = Int(SeededRandom.mix(UInt64(choice)) >> 2)
    switch fault {
    case .flipUnmounted, .flipMounted:
      let blocks = survey.used + [0, 256]
      try flip(bit: random % (8 * Block.size), of: blocks[choice % blocks.count])
      guard fault == .flipUnmounted else { return }
      try meetingDamage { () throws(StressFailure) in try target.restart("after a bit flipped") }
      if stretch != nil { replaceRunner(with: model) }
    case .lostNodes, .lostSuperblock, .lostRecord:
      let types: Set<UInt16> = fault == .lostNodes ? [2, 3] : fault == .lostSuperblock ? [1] : [4]
      target.device.injectFaults { $0.metadataWrite = MetadataWriteFault(types: types, after: choice % 3) }
    case .misdirectedNodes:
      let chunk = survey.chunks[choice % survey.chunks.count]
      let block = chunk.start + UInt64(random) % chunk.count
      target.device.injectFaults {
        $0.metadataWrite = MetadataWriteFault(types: [2, 3], after: choice % 3, to: block, within: chunk)
      }
    }
  }

  /// A flipped bit of metadata is always found by the check.
  private func flip(bit: Int, of block: UInt64) throws(StressFailure) {
    target.device.corrupt(
      at: block << UInt64(Block.shift) + UInt64(bit / 8), { $0[0] ^= 1 << (bit % 8) }, count: 1)
    if isSound { throw StressFailure(.check, "bit \(bit) of block \(block) flipped, and the check finds nothing") }
  }

  private var isSound: Bool {
    var checker = Checker(device: target.device)
    return checker.run().isSound
  }

  /// Runs `body`; the stretch is over when it meets damage.
  private func meetingDamage(_ body: () throws(StressFailure) -> Void) throws(StressFailure) {
    do throws(StressFailure) {
      try body()
    } catch {
      guard error.kind == .damage else { throw error }
      target.device.injectFaults { $0.areSuspended = true }
      if isSound { throw StressFailure(.check, "the engine met damage (\(error.message)), and the check finds none") }
      try goBack()
    }
  }

  /// The volume as it was before the stretch.
  private func goBack() throws(StressFailure) {
    guard let stretch else { return }
    past.mediaFaultsMet += 1
    self.stretch = nil
    target.isDamaged = false
    try checkRepair()
    target.device.restoreSnapshot()
    try target.restart("back to before the damage")
    replaceRunner(with: stretch.model)
  }

  /// Repaired, it is sound, needs no second repair, and can be mounted and read. (Which of its files are whole is not
  /// this model's to know.)
  private func checkRepair() throws(StressFailure) {
    // What was to strike later must not strike now; where the power is gone there is nothing to repair with.
    target.keepPower()
    target.device.injectFaults { $0 = DeviceFaults() }
    guard !target.isPowerOff else { return }
    var repairer = Repairer(device: target.device, permission: .everything)
    let report = repairer.run()
    switch report.outcome {
    case .repaired: past.repairs += 1
    // Both superblocks gone, or no room for a second tree.
    case .impossible, .refused: return
    case .notNeeded, .failed: throw StressFailure(.check, "repair: \(report.outcome)")
    }
    guard report.after?.isSound == true else {
      throw StressFailure(.check, "repaired, and not sound: \(report.after?.issues.first?.message ?? "")")
    }
    let again = repairer.run().outcome
    guard again == .notNeeded else { throw StressFailure(.check, "repaired, and again: \(again)") }
    try target.restart("after repair")
    let observed = try target.observe(allowingStrangers: true)
    for (id, node) in observed.nodes.sorted(by: { $0.key < $1.key }) where node.kind == .file {
      try target.readWhole(id, size: Int(node.size), model)
    }
    try target.finalCheck()
  }

  private func replaceRunner(with model: ModelFilesystem) {
    past.add(runner.counts)
    runner = StressRunner(target: target, model: model)
  }

  /// Everything is read once more, by the engine and by the check; what neither finds did no harm.
  private func endStretch() throws(StressFailure) {
    guard stretch != nil else { return }
    target.keepPower()
    try meetingDamage { () throws(StressFailure) in
      try runner.step(.remount, index: 0)
      target.device.injectFaults { $0 = DeviceFaults() }
    }
    guard stretch != nil else { return }
    if isSound {
      stretch = nil
      target.isDamaged = false
      target.device.forgetSnapshot()
    } else {
      try goBack()
    }
  }
}
