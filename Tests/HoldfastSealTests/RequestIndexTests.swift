/// The data structures against simple models.

import HoldfastBase
import Testing

@testable import HoldfastSeal

@Suite struct RequestIndexTests {
  @Test func indexAgreesWithAList() {
    var generator = SeededGenerator()
    var index = RequestIndex()
    var model: [(inode: InodeNumber, request: SealRequest)] = []
    for round in 0..<3_000 {
      let inode = InodeNumber.random(in: 1...5, using: &generator)
      let number = UInt64.random(in: 1...4, using: &generator)
      switch Int.random(in: 0..<10, using: &generator) {
      case 0:
        for slot in [index.slots(ofHandle: number)].joined().reversed() { index.remove(slot) }
        model.removeAll { $0.request.lifetime == .handle(number) }
      case 1:
        _ = index.remove(all: index.slots(ofProcess: Int32(number)))
        model.removeAll { $0.request.lifetime == .process(Int32(number)) }
      case 2:
        _ = index.remove(all: index.slots(of: inode))
        model.removeAll { $0.inode == inode }
      case 3, 4:
        guard let victim = model.indices.randomElement(using: &generator) else { continue }
        index.remove(index.slot(model[victim].request.identity, model[victim].inode)!)
        model.remove(at: victim)
      default:
        let lifetimes: [SealLifetime] = [.handle(number), .process(Int32(number)), .name, .persistent]
        let new = request(
          "n\(number)", lifetime: lifetimes.randomElement(using: &generator)!,
          taker: [alice, bob].randomElement(using: &generator)!,
          scope: Bool.random(using: &generator) ? .wholeFile : .range(byteOffset: 0, byteCount: 1),
          pinnedBytes: number)
        guard index.slot(new.identity, inode) == nil else { continue }
        _ = index.add(new, inode: inode, generation: 0)
        model.append((inode, new))
      }
      index.checkInvariants()
      #expect(index.count == model.count, "seed \(generator.seed), round \(round)")
      for inode in InodeNumber(1)...5 {
        let expected = model.filter { $0.inode == inode }.map(\.request)
        #expect(
          index.slots(of: inode).map { index[$0].request } == expected, "seed \(generator.seed), round \(round)")
      }
    }
  }

  /// The index is a short cut, never another opinion: what it finds is what the rule says of each request.
  @Test func findsWhatTheRuleReaches() {
    var generator = SeededGenerator()
    var index = RequestIndex()
    for number in 0..<400 {
      let scope: SealScope =
        Int.random(in: 0..<8, using: &generator) == 0
        ? .wholeFile
        : .range(
          byteOffset: .random(in: 0..<1_000_000, using: &generator),
          byteCount: .random(in: 1..<100_000, using: &generator))
      let kind = Bool.random(using: &generator) ? SealKind.hard : .breakable(graceSeconds: 1)
      _ = index.add(request("r\(number)", kind: kind, scope: scope), inode: 1, generation: 0)
    }
    for round in 0..<5_000 {
      let blocks = BlockRange(
        start: .random(in: 0..<300, using: &generator), count: .random(in: 0..<20, using: &generator))
      let change = MapChange(kind: MapChange.Kind.allCases.randomElement(using: &generator)!, blocks: blocks)
      var found: [Int] = []
      index.visit(1, within: change.reach) { slot in
        found.append(slot)
        return true
      }
      let expected = index.slots(of: 1).filter { ConflictRule.reaches(change, pinned: index.claim($0).pinned) }
      #expect(found.sorted() == expected.sorted(), "seed \(generator.seed), round \(round): \(change)")
      let kinds = found.map { index.claim($0).isBreakable }
      #expect(kinds == kinds.sorted { !$0 && $1 }, "the hard ones come first")
    }
  }

  @Test func heapGivesTheNearestFirst() {
    var generator = SeededGenerator()
    var heap = DeadlineHeap()
    for id in 0..<500 as Range<UInt64> {
      heap.insert(.init(deadline: Int64.random(in: 0..<100, using: &generator), slot: 0, id: id))
    }
    heap.compact { $0.id % 3 != 0 }
    #expect(heap.count == 333)
    var last = Int64.min
    while let first = heap.first {
      #expect(first.deadline >= last && first.id % 3 != 0, "seed \(generator.seed)")
      last = first.deadline
      heap.removeFirst()
    }
    #expect(heap.count == 0)
  }
}
