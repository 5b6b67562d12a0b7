/// One input: a golden image, damaged, and everything done with it. What must not happen is a violation; a trap or a
/// loop without end is the process's (`FuzzWorker`).
///
/// Held against every input:
/// - no access outside the image, no write by a reader, none into the reserved head, no endless reading
/// - an image the check calls sound mounts, works without meeting damage, and is sound afterwards
/// - the bystander's blocks stay as they are unless the image gives them away
/// - a volume that met damage takes no changes any more
/// - an image that is refused as foreign or too new is not touched
/// - what `fsck` repairs is sound, stays so, and works (FuzzInput+Repair.swift)

import HoldfastBase
import HoldfastCheck
import HoldfastFormat
import HoldfastSimulation
import HoldfastStore

/// What became of an input.
public struct FuzzOutcome {
  public var mutations: [String] = []
  public var violations: [String] = []
  /// What happened, in words that can be counted.
  public var events: [String] = []
}

/// A golden image ready to be damaged again and again.
public final class FuzzBase {
  let name: String
  let memory: ImageMemory
  let structure: ImageStructure
  let bystander: Bystander
  /// The bystander's bytes.
  let bystanderBytes: [UInt8]

  public init(_ name: String) throws {
    self.name = name
    memory = ImageMemory(try GoldenImages.image(name))
    let device = FuzzDevice(memory, readOnly: true)
    guard let structure = ImageStructure(memory, byteCount: device.byteCount) else { throw FSError.notAnImage }
    self.structure = structure
    bystander = try Bystander(in: try Store(mounting: device, options: FuzzInput.options(readOnly: true)))
    bystanderBytes = FuzzInput.bytes(bystander.blocks, of: memory)
  }
}

public struct FuzzInput {
  let base: FuzzBase
  /// Of the workload.
  let seed: UInt64
  let byteCount: UInt64
  private(set) var outcome = FuzzOutcome()
  private var trace: Bool

  /// The input of a seed: its base is damaged.
  public init(seed: UInt64, bases: [FuzzBase], trace: Bool = false) {
    var random = SeededRandom(seed: seed, part: 0)
    base = random.pick(bases)
    base.memory.reset()
    var mutator = Mutator(base.memory, base.structure, bystander: base.bystander.blocks, seed: random.next())
    mutator.run()
    self.seed = random.next()
    byteCount = mutator.byteCount
    outcome.mutations = ["image \(base.name)"] + mutator.notes
    self.trace = trace
    if trace { for note in outcome.mutations { Output.line(note) } }
  }

  /// A kept input: its base is damaged as it was then.
  init(_ base: FuzzBase, difference: [UInt8], byteCount: UInt64, seed: UInt64) {
    self.base = base
    self.seed = seed
    self.byteCount = byteCount
    trace = false
    base.memory.apply(difference: difference)
    outcome.mutations = ["image \(base.name)"]
  }

  /// Half of the seeds shut down on damage.
  static func options(readOnly: Bool, seed: UInt64 = 0) -> StoreOptions {
    var options = StoreOptions()
    options.readOnly = readOnly
    options.onError = seed & 1 == 0 ? .remountReadOnly : .shutdown
    options.backgroundThread = false
    options.cacheBytes = 1 << 20
    return options
  }

  static func bytes(_ blocks: BlockRange, of memory: ImageMemory) -> [UInt8] {
    (blocks.start..<blocks.end).flatMap { Array(UnsafeRawBufferPointer(start: memory.block($0), count: Block.size)) }
  }

  public mutating func run() -> FuzzOutcome {
    let damaged = base.memory.changes()
    let before = check("before")
    readOnly(before)
    base.memory.restore(damaged)
    let isClaimed =
      ImageStructure(base.memory, byteCount: byteCount).map { base.bystander.isClaimed(in: $0, base.memory) } ?? false
    writing(before)
    if !isClaimed, Self.bytes(base.bystander.blocks, of: base.memory) != base.bystanderBytes {
      violate("the bystander's blocks changed")
    }
    if isClaimed { event("bystander given away") }
    let after = check("after")
    if before.isSound, !after.isSound {
      violate("sound before, then: \(after.issues.prefix(3).map(\.message))")
    }
    again(after)
    base.memory.restore(damaged)
    repair(isClaimed)
    return outcome
  }

  // MARK: Notes

  mutating func event(_ text: String) {
    outcome.events.append(text)
    if trace { Output.line(text) }
  }

  mutating func violate(_ text: String) {
    outcome.violations.append(text)
    if trace { Output.line("VIOLATION: \(text)") }
  }

  mutating func collect(_ device: FuzzDevice, _ when: String) {
    for violation in device.violations { violate("\(when): \(violation)") }
  }

  // MARK: Steps

  mutating func check(_ when: String) -> CheckReport {
    let device = FuzzDevice(base.memory, byteCount: byteCount, readOnly: true)
    var checker = Checker(device: device)
    let report = checker.run()
    collect(device, "check \(when)")
    event(
      "check \(when): " + (report.isSound ? "sound" : report.outcome == .complete ? "damaged" : "\(report.outcome)"))
    _ = report.json
    return report
  }

  mutating func open(_ device: FuzzDevice, readOnly: Bool, _ when: String, _ report: CheckReport) -> Store? {
    do throws(FSError) {
      let store = try Store(mounting: device, options: Self.options(readOnly: readOnly, seed: seed))
      event("\(when): mounted")
      return store
    } catch {
      event("\(when): \(Journey.name(error))")
      if report.isSound { violate("\(when): sound, but refused: \(error)") }
      switch error {
      case .notAnImage, .incompatibleFormat, .imageTruncated:
        if device.writes > 0 { violate("\(when): refused, but written to") }
      default: break
      }
      return nil
    }
  }

  mutating func judge(_ journey: Journey, _ when: String, _ report: CheckReport) {
    if let damage = journey.damage {
      event("\(when): met damage")
      if report.isSound { violate("\(when): sound, but met \(damage)") }
    }
    if trace { Output.line("\(journey.errors.sorted { $0.key < $1.key })") }
  }

  private mutating func readOnly(_ report: CheckReport) {
    let device = FuzzDevice(base.memory, byteCount: byteCount, readOnly: true)
    if let store = open(device, readOnly: true, "read-only", report) {
      var journey = Journey(store, bystander: base.bystander.inode, seed: seed)
      journey.walk()
      journey.change(steps: 5)
      judge(journey, "read-only", report)
      try? store.unmount()
    }
    collect(device, "read-only")
  }

  private mutating func writing(_ report: CheckReport) {
    let device = FuzzDevice(base.memory, byteCount: byteCount)
    if let store = open(device, readOnly: false, "writing", report) {
      var journey = Journey(store, bystander: base.bystander.inode, seed: seed)
      journey.walk(looking: journey.random.oneIn(3))
      journey.change(steps: 60)
      journey.walk()
      journey.change(steps: 30)
      judge(journey, "writing", report)
      if let damage = journey.damage, store.health == .sound { violate("met \(damage) and went on") }
      // One in four is cut off.
      if journey.random.oneIn(4) {
        event("cut off")
      } else {
        do throws(FSError) {
          try store.unmount()
          event("unmounted")
        } catch {
          event("unmount: \(Journey.name(error))")
          if report.isSound { violate("sound, but unmount failed: \(error)") }
        }
      }
    }
    collect(device, "writing")
  }

  private mutating func again(_ report: CheckReport) {
    let device = FuzzDevice(base.memory, byteCount: byteCount)
    if let store = open(device, readOnly: false, "again", report) {
      var journey = Journey(store, bystander: base.bystander.inode, seed: seed &+ 1)
      journey.walk()
      journey.change(steps: 20)
      judge(journey, "again", report)
      try? store.unmount()
    }
    collect(device, "again")
  }
}
