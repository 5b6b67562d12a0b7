/// Recall, parking and fencing: rules 7 and 11, the column "breakable", row 21.

import Foundation
import HoldfastBase
import Testing

@testable import HoldfastSeal

@Suite struct RecallTests {
  let table = SealTable()
  let file: InodeNumber = 7
  let change = MapChange.truncate(toByteCount: 0)
  let patient = Actor(credentials: bob, handle: 9, waits: true)

  private func breakable(_ name: String, grace: UInt32 = 30, lifetime: SealLifetime = .name) -> SealRequest {
    request(name, lifetime: lifetime, kind: .breakable(graceSeconds: grace))
  }

  /// The number under which a waiting actor is to park.
  private func breaker(_ change: MapChange? = nil, by actor: Actor? = nil) throws -> UInt64 {
    let error = thrown { () throws(FSError) in
      try table.ask(change ?? self.change, inode: file, by: actor ?? patient)
    }
    guard case .mustWait(let breaker) = error else {
      Issue.record("\(String(describing: error)) instead of waiting")
      throw FSError.interrupted
    }
    return breaker
  }

  private func release(_ name: String) throws {
    try table.release(.named(uid: alice.uid, name: name), inode: file, by: alice)
  }

  @Test func releaseWakesWhoWaits() throws {
    try table.take(breakable("a"), on: file)
    try table.take(breakable("b"), on: file)
    let asked = Recorder<[String]>()
    table.onRecall = { asked.add($0.map(\.request.name)) }
    let woken = Recorder<Int>()
    let first = try breaker()
    let second = try breaker()
    #expect(asked.all == [["a", "b"]], "each holder is asked once")
    #expect(table.park(first) { woken.add(1) } == .parked)
    #expect(table.park(second) { woken.add(2) } == .parked)
    try release("a")
    #expect(woken.all == [])
    try release("b")
    #expect(woken.all == [1, 2])
    // Woken, they cannot give up any more, and nobody comes in between.
    #expect(!table.giveUp(first))
    #expect(thrown { () throws(FSError) in try table.take(breakable("c"), on: file) } == .recallInFlight)
    try table.ask(change, inode: file, by: patient)
    table.endTurn(first)
    #expect(thrown { () throws(FSError) in try table.take(breakable("c"), on: file) } == .recallInFlight)
    table.endTurn(second)
    try table.take(breakable("c"), on: file)
    table.checkInvariants()
  }

  /// The holder lets go between the gate's word and parking: no wake-up is lost.
  @Test func whatIsOverBeforeParkingIsTold() throws {
    try table.take(breakable("a"), on: file)
    let number = try breaker()
    try release("a")
    // Its turn has come, though it has not heard of it: nobody comes in between.
    #expect(thrown { () throws(FSError) in try table.take(breakable("a"), on: file) } == .recallInFlight)
    #expect(table.park(number) { Issue.record("woken besides") } == .over)
    // Whoever parked begins again: a signal from now on finds nobody to answer for.
    #expect(!table.giveUp(number))
    table.checkInvariants()
    table.endTurn(number)
    try table.take(breakable("a"), on: file)
  }

  /// A signal before the operation has parked: whoever gives up answers, parking says so, nothing stays behind.
  @Test(arguments: [false, true]) func givingUpBeforeParking(releasedFirst: Bool) throws {
    try table.take(breakable("a"), on: file)
    let number = try breaker()
    if releasedFirst { try release("a") }
    #expect(table.giveUp(number))
    #expect(table.park(number) { Issue.record("woken after giving up") } == .gaveUp)
    if !releasedFirst { try release("a") }
    table.checkInvariants()
    try table.take(breakable("b"), on: file)
  }

  /// Rule 11: a recall runs to its end without anybody waiting for it.
  @Test func theRecallOutlivesWhoAskedForIt() throws {
    try table.take(breakable("a", grace: 5, lifetime: .handle(3)), on: file)
    let number = try breaker()
    #expect(table.park(number) { Issue.record("woken after giving up") } == .parked)
    #expect(table.giveUp(number))
    #expect(!table.giveUp(number))
    let impatient = Actor(credentials: bob, handle: 9)
    #expect(thrown { () throws(FSError) in try table.ask(change, inode: file, by: impatient) } == .recallInFlight)
    #expect(thrown { () throws(FSError) in try table.take(request("new"), on: file) } == .recallInFlight)
    let left = try #require(table.recallMilliseconds(ofHandle: 3))
    #expect(left > 3000 && left <= 5000)
    #expect(table.recallMilliseconds(ofHandle: 4) == nil)
    let now = Clocks.monotonicNanoseconds()
    let fenced = Recorder<String>()
    let withdrawn = Recorder<InodeNumber>()
    table.onTakenAway = { taken, how in
      #expect(how == .fenced)
      for info in taken { fenced.add(info.request.name) }
    }
    table.onWithdrawal = { withdrawn.add($0) }
    #expect(table.fenceOverdue(now: now)! > now)
    #expect(table.count(file) == 1)
    #expect(table.fenceOverdue(now: now + 6 * Clocks.nanosecondsPerSecond) == nil)
    #expect(fenced.all == ["a"] && withdrawn.all == [file])
    #expect(table.count(file) == 0 && table.isStale(3))
    try table.take(request("new"), on: file)
    table.checkInvariants()
  }

  /// What the disk knows of is forgotten there first, while it still stands and whoever waits for it sleeps: by a fence and
  /// by a revoke. One that ends by itself meanwhile is not taken.
  @Test(arguments: [TakenAway.fenced, .revoked]) func theRecordGoesFirst(_ how: TakenAway) throws {
    try table.take(breakable("kept", lifetime: .persistent), on: file)
    try table.take(breakable("given-back", lifetime: .persistent), on: file)
    try table.take(breakable("named"), on: file)
    let woken = Recorder<Int>()
    let number = try breaker()
    #expect(table.park(number) { woken.add(1) } == .parked)
    let forgotten = Recorder<[String]>()
    let taken = Recorder<[String]>()
    let table = table
    let file = file
    table.onTakingAway = { requests in
      forgotten.add(requests.map(\.request.name))
      #expect(table.count(file) == 3 && woken.all == [])
      _ = try? table.release(.named(uid: alice.uid, name: "given-back"), inode: file, by: alice)
    }
    table.onTakenAway = { requests, _ in taken.add(requests.map(\.request.name).sorted()) }
    switch how {
    case .fenced: table.fenceOverdue(now: Clocks.monotonicNanoseconds() + 100 * Clocks.nanosecondsPerSecond)
    case .revoked: #expect(table.revoke(.all).count == 2)
    }
    #expect(forgotten.all.map { $0.sorted() } == [["given-back", "kept"]])
    #expect(taken.all == [["kept", "named"]])
    #expect(woken.all == [1] && table.count(file) == 0)
    table.endTurn(number)
    table.checkInvariants()
  }

  /// However a request ends, who waits for it is woken.
  @Test(arguments: 0..<6) func everyEndWakes(_ way: Int) throws {
    let lifetime: SealLifetime = way == 1 ? .handle(3) : way == 2 ? .process(12) : .name
    let ttl: UInt32? = way == 3 ? 1 : nil
    try table.take(
      request("a", lifetime: lifetime, kind: .breakable(graceSeconds: 60), ttl: ttl), on: file)
    let woken = Recorder<Int>()
    let number = try breaker()
    #expect(table.park(number) { woken.add(way) } == .parked)
    let later = Clocks.monotonicNanoseconds() + 100 * Clocks.nanosecondsPerSecond
    switch way {
    case 0: try release("a")
    case 1: table.handleClosed(3)
    case 2: table.processDied(12)
    case 3: table.releaseExpired(now: later)
    case 4: table.revoke(.all)
    default: table.fenceOverdue(now: later)
    }
    #expect(woken.all == [way])
    table.endTurn(number)
    table.checkInvariants()
    try table.take(breakable("b"), on: file)
  }

  /// One operation, several changes: everybody in its way is asked at once, and a hard request refuses all of it.
  @Test func changesThatComeTogether() throws {
    func pin(_ name: String, _ block: UInt64, _ kind: SealKind) -> SealRequest {
      request(name, kind: kind, scope: .range(byteOffset: block << 12, byteCount: 1))
    }
    let fill = MapChange.fill(BlockRange(start: 0, count: 2))
    let grow = MapChange.grow(mapping: BlockRange(start: 2, count: 2))
    func ask() -> FSError? {
      thrown { () throws(FSError) in _ = try table.authorize(fill, with: [grow], inode: file, by: patient) }
    }
    try table.take(pin("a", 1, .breakable(graceSeconds: 30)), on: file)
    try table.take(pin("b", 3, .breakable(graceSeconds: 30)), on: file)
    try table.take(pin("hard", 2, .hard), on: file)
    let asked = Recorder<[String]>()
    table.onRecall = { asked.add($0.map(\.request.name)) }
    guard case .sealed(let refusal) = ask() else {
      Issue.record("not refused")
      return
    }
    #expect(refusal.requestName == "hard" && asked.all == [])
    #expect(table.refusals.count(of: .grow) == 1 && table.refusals.count(of: .fill) == 0)
    try release("hard")
    guard case .mustWait(let number) = ask() else {
      Issue.record("not made to wait")
      return
    }
    #expect(asked.all == [["a", "b"]])
    #expect(table.park(number) {} == .parked)
    try release("a")
    try release("b")
    table.endTurn(number)
    #expect(ask() == nil)
    table.checkInvariants()
  }

  /// A breaker waits for those in its way, not for all that are asked on the file; its own request is none of them.
  @Test func onlyWhatIsInTheWayIsAwaited() throws {
    func pin(_ name: String, _ block: UInt64, _ lifetime: SealLifetime = .name) -> SealRequest {
      request(
        name, lifetime: lifetime, kind: .breakable(graceSeconds: 30),
        scope: .range(byteOffset: block << 12, byteCount: 1))
    }
    try table.take(pin("a", 1), on: file)
    try table.take(pin("b", 5), on: file)
    try table.take(pin("own", 5, .handle(9)), on: file)
    let woken = Recorder<String>()
    let a = try breaker(.punch(byteOffset: 1 << 12, byteCount: 1), by: Actor(credentials: root, handle: 1, waits: true))
    let b = try breaker(.punch(byteOffset: 5 << 12, byteCount: 1), by: patient)
    #expect(table.park(a) { woken.add("a") } == .parked)
    #expect(table.park(b) { woken.add("b") } == .parked)
    #expect(table.recallMilliseconds(ofHandle: 9) == nil)
    try release("b")
    #expect(woken.all == ["b"])
    try table.ask(.punch(byteOffset: 5 << 12, byteCount: 1), inode: file, by: patient)
    #expect(table.requests(of: file).map(\.request.name) == ["a"], "its own lease ended with its change")
    table.endTurn(b)
    try release("a")
    #expect(woken.all == ["b", "a"])
    table.endTurn(a)
    table.checkInvariants()
  }

  /// Row 17: asked for behind an unlink, with nobody waiting; hard requests stay.
  @Test func unlinkAsksAllTheBreakable() throws {
    try table.take(breakable("a"), on: file)
    try table.take(request("hard"), on: file)
    let asked = Recorder<String>()
    table.onRecall = { for info in $0 { asked.add(info.request.name) } }
    table.recallAll(of: file)
    table.recallAll(of: file)
    #expect(asked.all == ["a"])
    table.fenceOverdue(now: Clocks.monotonicNanoseconds() + 100 * Clocks.nanosecondsPerSecond)
    #expect(table.requests(of: file).map(\.request.name) == ["hard"])
    table.checkInvariants()
  }

  /// Holders, breakers, signals and deadlines by chance, against what the specification says (docs/spec/recall.pml):
  /// every breaker is answered once, nobody is woken early, nobody is forgotten.
  @Test func whateverHappensEveryBreakerIsAnsweredOnce() throws {
    var generator = SeededGenerator()
    var waiting: [UInt64: Set<String>] = [:]
    let woken = Recorder<UInt64>()
    var turns = 0
    for round in 0..<20_000 {
      let name = "r\(Int.random(in: 0..<6, using: &generator))"
      switch Int.random(in: 0..<7, using: &generator) {
      case 0, 1:
        let error = thrown { () throws(FSError) in try table.take(breakable(name, grace: 1), on: file) }
        let isBusy = !waiting.isEmpty || table.requests(of: file).contains { $0.recallMilliseconds != nil }
        #expect(error == (isBusy ? .recallInFlight : nil), "seed \(generator.seed), round \(round)")
      case 2:
        let standing = Set(table.requests(of: file).map(\.request.name))
        guard !standing.isEmpty else { break }
        let number = try breaker()
        #expect(table.park(number) { woken.add(number) } == .parked)
        waiting[number] = standing
      case 3, 4:
        let isHeld = table.requests(of: file).contains { $0.request.name == name }
        #expect(
          (thrown { () throws(FSError) in try table.release(.named(uid: alice.uid, name: name), inode: file, by: alice)
          } == nil) == isHeld)
      case 5:
        guard let number = waiting.keys.sorted().randomElement(using: &generator) else { break }
        #expect(table.giveUp(number))
        waiting[number] = nil
      default:
        table.fenceOverdue(now: Clocks.monotonicNanoseconds() + .random(in: 0...1, using: &generator) * 2_000_000_000)
      }
      let left = Set(table.requests(of: file).map(\.request.name))
      for number in woken.all[turns...] {
        #expect(waiting.removeValue(forKey: number) != nil, "seed \(generator.seed): \(number) was woken twice")
        #expect(left.isEmpty)
        turns += 1
        table.endTurn(number)
      }
      #expect(waiting.isEmpty || !left.isEmpty, "seed \(generator.seed), round \(round): somebody waits for nobody")
      if round % 100 == 0 { table.checkInvariants() }
    }
    #expect(turns > 100)
  }

  /// The same with threads: each breaker ends exactly once, by being woken or by giving up.
  @Test func threadsLoseNoWakeUp() throws {
    let rounds = 2000
    let answers = Recorder<Int>()
    let done = DispatchSemaphore(value: 0)
    let isOver = Recorder<Bool>()
    let table = table
    let (file, change) = (file, change)
    for holder in 0..<2 {
      Thread.detachNewThread {
        while isOver.all.isEmpty {
          let name = "h\(holder)"
          if thrown({ () throws(FSError) in
            try table.take(request(name, kind: .breakable(graceSeconds: 60)), on: file)
          }) == nil {
            _ = thrown { () throws(FSError) in
              try table.release(.named(uid: alice.uid, name: name), inode: file, by: alice)
            }
          }
        }
        done.signal()
      }
    }
    for number in 0..<2 {
      Thread.detachNewThread {
        let actor = Actor(credentials: bob, handle: UInt64(100 + number), waits: true)
        for round in 0..<rounds {
          let error = thrown { () throws(FSError) in try table.ask(change, inode: file, by: actor) }
          if case .mustWait(let breaker) = error {
            let woken = DispatchSemaphore(value: 0)
            // A signal may come before it parks, and while it is parked.
            if round % 5 == 0, table.giveUp(breaker) {
              #expect(table.park(breaker, wake: {}) == .gaveUp)
            } else if table.park(breaker, wake: { woken.signal() }) == .over {
              table.endTurn(breaker)
            } else if round % 3 != 0 || !table.giveUp(breaker) {
              woken.wait()
              table.endTurn(breaker)
            }
          }
          answers.add(number)
        }
        done.signal()
      }
    }
    for _ in 0..<2 { done.wait() }
    isOver.add(true)
    for _ in 0..<2 { done.wait() }
    #expect(answers.all.count == 2 * rounds)
    table.checkInvariants()
  }
}
