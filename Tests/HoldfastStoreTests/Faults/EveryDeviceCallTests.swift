/// One run of changes, syncs and checkpoints, again and again: each time the next write or barrier of the device fails.
/// Whatever fails, the next mount finds a state no older than the last sync that succeeded, and a sound volume.

import Glibc
import HoldfastBase
import HoldfastStore
import Testing

@testable import HoldfastStore

@Suite("Store: every write and barrier fails in turn") struct EveryDeviceCallTests {
  /// Names of the root directory with what the files hold.
  typealias State = [String: [UInt8]]

  /// What a run has reached: every state it went through, and the last one known to be durable.
  struct Run {
    var states: [State] = [[:]]
    var durable = 0
    var failures = 0

    /// A change that may fail; a failed one has not happened.
    mutating func change(_ body: () throws -> Void, _ effect: (inout State) -> Void) {
      guard (try? body()) != nil else {
        failures += 1
        return
      }
      var state = states[states.count - 1]
      effect(&state)
      states.append(state)
    }

    mutating func sync(_ body: () throws -> Void) {
      if (try? body()) != nil { durable = states.count - 1 } else { failures += 1 }
    }
  }

  private func perform(on volume: Volume) -> Run {
    var run = Run()
    func write(_ name: String, _ contents: [UInt8]) {
      // The file is empty until its write is done, which no sync comes between.
      run.change({ _ = try volume.create(name) }, { $0[name] = [] })
      run.change({ try volume.write(volume.lookup(name), contents) }, { $0[name] = contents })
    }
    write("a", pattern(5000))
    run.sync { try volume.store.syncAll() }
    write("b", pattern(70_000, seed: 3))
    run.change({ try volume.rename("a", to: "c") }, { $0["c"] = $0.removeValue(forKey: "a") })
    run.sync { try volume.store.sync(volume.lookup("b"), dataOnly: true) }
    run.sync { try volume.store.checkpoint() }
    for index in 0..<40 { write("many-\(index)", pattern(index * 37)) }
    run.sync { try volume.store.syncAll() }
    run.change(
      { try volume.write(volume.lookup("c"), pattern(3000, seed: 5), append: true) },
      { $0["c"] = ($0["c"] ?? []) + pattern(3000, seed: 5) })
    for index in 0..<20 {
      run.change({ try volume.unlink("many-\(index)") }, { $0["many-\(index)"] = nil })
    }
    run.change(
      { try volume.truncate(volume.lookup("b"), 6000) }, { $0["b"] = Array(pattern(70_000, seed: 3)[..<6000]) })
    // A volume that has failed keeps no house, silently.
    try? volume.store.housekeep()
    run.sync { try volume.store.syncAll() }
    write("d", pattern(20_000, seed: 7))
    run.change({ try volume.unlink("b") }, { $0["b"] = nil })
    run.sync { try volume.store.checkpoint() }
    write("e", pattern(100))
    run.sync { try volume.store.unmount() }
    return run
  }

  private func state(of volume: Volume) throws -> State {
    var state = State()
    for name in try volume.names() where name != "." && name != ".." {
      state[name] = try volume.read(volume.lookup(name), 200_000)
    }
    return state
  }

  private func summary(_ state: State) -> String {
    state.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value.count) bytes" }.joined(separator: ", ")
  }

  /// A volume whose device fails at its nth write or barrier, once or from then on.
  private func run(failingAt nth: Int, forever: Bool) throws -> (Volume, Run, calls: Int) {
    let volume = try Volume(mebibytes: 16)
    volume.device.rememberUnsyncedWrites()
    let calls = Countdown(nth)
    volume.device.fault = { request in
      [.write, .barrier].contains(request.operation) && (calls.strikes() || forever && calls.isOver) ? EIO : nil
    }
    let run = perform(on: volume)
    volume.device.fault = nil
    return (volume, run, calls.count)
  }

  @Test(arguments: [false, true], [false, true]) func nothingSyncedIsLost(forever: Bool, powerIsLost: Bool) throws {
    let (_, whole, calls) = try run(failingAt: .max, forever: false)
    #expect(whole.failures == 0 && whole.durable == whole.states.count - 1 && calls > 60)
    for nth in 0..<calls {
      var (volume, run, _) = try run(failingAt: nth, forever: forever)
      #expect(run.failures > 0, "call \(nth)")
      if powerIsLost { volume.device.losePower() }
      let issues = volume.check().issues.map(\.message)
      #expect(issues == [], "call \(nth)")
      try volume.crash()
      let found = try state(of: volume)
      let isAllowed = run.states[run.durable...].contains(found)
      #expect(isAllowed, "call \(nth): \(summary(found)), durable \(summary(run.states[run.durable]))")
      try volume.store.unmount()
    }
  }
}
