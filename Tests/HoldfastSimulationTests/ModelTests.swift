import Glibc
import Testing

@testable import HoldfastSimulation

/// The model by itself: what it expects, what it says a crash may leave.
@Suite struct ModelTests {
  private static func model() -> ModelFilesystem {
    ModelFilesystem(root: 1, rootMode: 0o755, job: 0, maximumFileBytes: 1 << 20, remembersHistory: true)
  }

  /// Does operations as a correct filesystem would, with inode numbers 100, 101, …
  private static func perform(_ model: ModelFilesystem, _ operations: [HoldfastSimulation.Operation]) {
    var inode: UInt64 = 100 + UInt64(model.metadata.nodes.count) - 1
    for operation in operations {
      guard let expected = model.expect(operation, map: { _ in ObservedMap() }), expected.refusal.isEmpty else {
        continue
      }
      var value = expected.value ?? 0
      switch operation {
      case .create, .makeDirectory, .symlink:
        value = inode
        inode += 1
      default: break
      }
      model.commit(operation, .done(value))
      model.endOperation()
    }
  }

  private static func expectation(_ model: ModelFilesystem, _ operation: HoldfastSimulation.Operation) -> String {
    model.expect(operation, map: { _ in ObservedMap() })?.description ?? "void"
  }

  @Test func namespaceAnswers() {
    let model = Self.model()
    Self.perform(
      model,
      [
        .makeDirectory(Place(0, 1), slot: 1), .makeDirectory(Place(1, 2), slot: 2),
        .create(Place(1, 3), handle: 0, mode: 0o600),
        .link(Place(1, 3), to: Place(0, 4)),
      ])
    #expect(Self.expectation(model, .create(Place(1, 3), handle: 1, mode: 0)) == "EEXIST")
    #expect(Self.expectation(model, .removeDirectory(Place(0, 1))) == "EEXIST or ENOTEMPTY")
    #expect(Self.expectation(model, .rename(Place(0, 1), to: Place(2, 5), flags: 0)) == "EINVAL")
    #expect(Self.expectation(model, .rename(Place(1, 2), to: Place(0, 1), flags: 0)) == "EEXIST or ENOTEMPTY")
    #expect(Self.expectation(model, .rename(Place(1, 3), to: Place(0, 4), flags: 1)) == "EEXIST")
    #expect(Self.expectation(model, .rename(Place(1, 9), to: Place(0, 4), flags: 0)) == "ENOENT")
    #expect(Self.expectation(model, .link(Place(0, 1), to: Place(0, 8))) == "EPERM")
    #expect(Self.expectation(model, .unlink(Place(5, 1))) == "void")
    #expect(Self.expectation(model, .status(Place(0, 4))) == "success")
    Self.perform(model, [.unlink(Place(1, 3)), .unlink(Place(0, 4))])
    #expect(model.metadata.nodes[102]?.links == 0, "it is still open")
    Self.perform(model, [.close(handle: 0)])
    #expect(model.metadata.nodes[102] == nil)
  }

  @Test func sealsAnswerByTheTable() {
    let model = Self.model()
    Self.perform(
      model, [.create(Place(0, 1), handle: 0, mode: 0o600), .write(handle: 0, offset: 0, length: 8192, tag: 1)])
    // Second block preallocated only, nothing behind.
    let map = ObservedMap(extents: [
      MapExtent(logical: 0, physical: 0, length: 4096, isPlain: true),
      MapExtent(logical: 4096, physical: 8192, length: 4096, isPlain: false),
    ])
    func says(_ operation: HoldfastSimulation.Operation) -> String {
      model.expect(operation, map: { _ in map })?.description ?? "void"
    }
    #expect(says(.unseal(handle: 0, name: 0)) == "ENODATA")
    #expect(says(.truncate(handle: 0, size: 5)) == "success")
    Self.perform(model, [.sealNamed(handle: 0, user: 1, name: 0, SealSpec(.asIs))])
    #expect(says(.write(handle: 0, offset: 10, length: 4000, tag: 1)) == "success with 4000", "row 2")
    #expect(says(.write(handle: 0, offset: 10, length: 5000, tag: 1)) == "ETXTBSY or at most 4086 bytes done", "row 3")
    #expect(says(.write(handle: 0, offset: 8192, length: 1, tag: 1)) == "ETXTBSY", "row 4")
    #expect(says(.truncate(handle: 0, size: 8191)) == "ETXTBSY", "row 6")
    #expect(says(.truncate(handle: 0, size: 8193)) == "ETXTBSY", "row 7")
    #expect(says(.truncate(handle: 0, size: 8192)) == "success", "row 8")
    #expect(says(.open(Place(0, 1), handle: 1, [.write, .truncate])) == "ETXTBSY", "row 9")
    #expect(says(.open(Place(0, 1), handle: 1, .write)) == "success", "row 10")
    #expect(says(.allocate(handle: 0, mode: 0, offset: 0, length: 8192)) == "success", "row 11: nothing to allocate")
    #expect(says(.allocate(handle: 0, mode: 1, offset: 8192, length: 1)) == "ETXTBSY", "row 11")
    #expect(says(.allocate(handle: 0, mode: 3, offset: 0, length: 1)) == "ETXTBSY", "row 12")
    #expect(says(.unlink(Place(0, 1))) == "success", "row 17")
    #expect(says(.unsealNamed(handle: 0, user: 2, name: 0)) == "EPERM", "row 25")
    #expect(says(.unsealNamed(handle: 0, user: 1, name: 0)) == "success", "row 24")
    Self.perform(model, [.unsealNamed(handle: 0, user: 1, name: 0)])
    #expect(says(.truncate(handle: 0, size: 8191)) == "success")
  }

  @Test func aCrashLeavesAPrefix() {
    let model = Self.model()
    Self.perform(model, [.create(Place(0, 1), handle: 0, mode: 0o600), .syncAll])
    let durable = model.metadata
    Self.perform(model, [.rename(Place(0, 1), to: Place(0, 2), flags: 0)])
    let renamed = model.metadata
    Self.perform(model, [.write(handle: 0, offset: 0, length: 100, tag: 1)])
    let written = model.metadata
    func judge(_ state: ModelMetadata, lastIsInFlight: Bool = false) -> Result<Int, StressFailure> {
      Result { () throws(StressFailure) in try model.judge(state, lastIsInFlight: lastIsInFlight) }
    }
    for (changes, state) in [durable, renamed, written].enumerated() { #expect(judge(state) == .success(changes)) }
    var mixed = durable
    mixed.nodes[100]?.size = 100
    #expect(throws: StressFailure.self, "the size without the rename") { try judge(mixed).get() }
    var partial = renamed
    partial.nodes[100]?.size = 40
    #expect(throws: StressFailure.self) { try judge(partial).get() }
    #expect(judge(partial, lastIsInFlight: true) == .success(1), "a write cut between two commits")
    Self.perform(model, [.sync(handle: 0, dataOnly: false)])
    #expect(throws: StressFailure.self, "what was synced is there") { try judge(renamed).get() }
  }

  @Test func aCrashLeavesOldOrNewBytes() {
    let clock = ModelClock()
    let content = ModelContent(clock: clock)
    func bytes(_ parts: (UInt8, Int)...) -> [UInt8] { parts.flatMap { Array(repeating: $0.0, count: $0.1) } }
    func impossible(_ observed: [UInt8]) -> Int? { observed.withUnsafeBytes { content.firstImpossible($0, at: 0) } }
    bytes((1, 2000)).withUnsafeBytes { content.write($0, at: 0) }
    content.synced()
    #expect(impossible(bytes((1, 2000))) == nil && impossible(bytes((0, 2000))) == 0)
    bytes((2, 500)).withUnsafeBytes { content.write($0, at: 1000) }
    bytes((3, 500)).withUnsafeBytes { content.write($0, at: 1000) }
    #expect(impossible(bytes((1, 1000), (2, 250), (3, 100), (1, 650))) == nil)
    #expect(impossible(bytes((1, 1000), (4, 1), (1, 999))) == 1000, "nobody's byte")
    #expect(impossible(bytes((1, 999), (3, 1), (1, 1000))) == 999, "the right byte in the wrong place")
    clock.changes = 1
    content.resize(to: 1200)
    clock.changes = 2
    content.resize(to: 3000)
    clock.changes = 3
    #expect(impossible(bytes((1, 1000), (3, 200), (1, 300), (0, 1500))) == nil)
    // Metadata that shows the first cut was committed after the two writes.
    let early = bytes((1, 1000), (2, 200))
    #expect(early.withUnsafeBytes { content.firstImpossible($0, at: 0, after: 0) } == nil)
    #expect(early.withUnsafeBytes { content.firstImpossible($0, at: 0, after: 1) } == 1000)
    content.synced()
    #expect(impossible(bytes((1, 1000), (3, 200), (0, 1800))) == nil)
    #expect(impossible(bytes((1, 1000), (3, 200), (1, 300), (0, 1500))) == 1200, "cut and synced is cut")
  }

  @Test func shrinkingKeepsWhatMatters() {
    let operations = (0..<200).map { HoldfastSimulation.Operation.truncate(handle: 0, size: $0) }
    let shrinker = Shrinker(kind: .contents, seconds: 10) { candidate in
      guard let first = candidate.firstIndex(of: .truncate(handle: 0, size: 31)),
        let second = candidate[first...].firstIndex(of: .truncate(handle: 0, size: 150))
      else { return nil }
      var failure = StressFailure(.contents, "")
      failure.index = second
      return failure
    }
    var failure = StressFailure(.contents, "")
    failure.index = 199
    let (short, _) = shrinker.shrink(operations, failure)
    #expect(short == [.truncate(handle: 0, size: 31), .truncate(handle: 0, size: 150)])
  }
}
