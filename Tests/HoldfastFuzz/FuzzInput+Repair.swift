/// `fsck -y` (one in four: `-p`) on the damaged image: what it says it repaired is sound, a second run has nothing to
/// do, and the volume works as any other.

import HoldfastBase
import HoldfastCheck
import HoldfastFormat
import HoldfastSimulation
import HoldfastStore

extension FuzzInput {
  mutating func repair(_ isClaimed: Bool) {
    var random = SeededRandom(seed: seed, part: 1)
    let stands = bystanderStands && !isClaimed
    let device = FuzzDevice(base.memory, byteCount: byteCount)
    var repairer = Repairer(device: device, permission: random.oneIn(4) ? .harmless : .everything)
    let report = repairer.run()
    collect(device, "repair")
    _ = report.json
    switch report.outcome {
    case .repaired:
      event("repair: repaired")
      guard let after = report.after, after.isSound else {
        return violate("repaired, then: \(report.after?.issues.prefix(3).map(\.message) ?? [])")
      }
      repairAgain()
      use(after)
    case .refused(let reason): event("repair: refused, \(reason.rawValue)")
    case .failed(let error): violate("repair: \(error)")
    case .notNeeded, .impossible: event("repair: \(report.outcome)")
    }
    if report.outcome != .repaired, device.writes > 0 { violate("repair: \(report.outcome), but wrote") }
    if stands, Self.bytes(base.bystander.blocks, of: base.memory) != base.bystanderBytes {
      violate("repair: the bystander's blocks changed")
    }
  }

  /// Whether the damaged image still has the bystander, whole.
  private var bystanderStands: Bool {
    let device = FuzzDevice(base.memory, byteCount: byteCount, readOnly: true)
    guard let store = try? Store(mounting: device, options: Self.options(readOnly: true)),
      let found = try? Bystander(in: store)
    else { return false }
    return found == base.bystander
  }

  private mutating func repairAgain() {
    let device = FuzzDevice(base.memory, byteCount: byteCount)
    var repairer = Repairer(device: device, permission: .everything)
    let outcome = repairer.run().outcome
    if outcome != .notNeeded || device.writes > 0 { violate("repaired twice: \(outcome), \(device.writes) writes") }
    collect(device, "second repair")
  }

  private mutating func use(_ report: CheckReport) {
    let device = FuzzDevice(base.memory, byteCount: byteCount)
    guard let store = open(device, readOnly: false, "repaired", report) else { return collect(device, "repaired") }
    var journey = Journey(store, bystander: base.bystander.inode, seed: seed)
    journey.walk()
    journey.change(steps: 30)
    judge(journey, "repaired", report)
    do throws(FSError) {
      try store.unmount()
    } catch {
      violate("repaired, but unmount failed: \(error)")
    }
    collect(device, "repaired")
    let after = check("after repair")
    if !after.isSound { violate("repaired and used, then: \(after.issues.prefix(3).map(\.message))") }
  }
}
