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
