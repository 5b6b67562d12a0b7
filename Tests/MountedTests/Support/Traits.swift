/// How a suite comes to its volume: `@Suite(.onVolume, .mounted())` makes and mounts one around the whole suite,
/// which ends with an unmount and a clean fsck; each test of it has a deadline after which the mount is aborted.

import Glibc
import Synchronization
import Testing

/// `.mounted(…)`: one volume for all tests of a suite, in `Volume.shared`.
struct MountedTrait: SuiteTrait, TestScoping {
  var mebibytes: Int
  var options: String

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    if let obstacle = TestEnvironment.obstacle {
      // Only reached when skipping is not allowed.
      throw Trouble("\(TestEnvironment.skipReason): \(obstacle)")
    }
    let volume = try Volume(mebibytes: mebibytes)
    defer { volume.remove() }
    try volume.mount(options)
    try await Volume.$shared.withValue(volume) { try await function() }
    volume.finish()
  }
}

/// `.deadline`: the shared volume of a test that takes too long is aborted, so that it fails instead of hanging.
struct DeadlineTrait: SuiteTrait, TestTrait, TestScoping {
  var seconds: Double
  var isRecursive: Bool { true }

  func provideScope(
    for test: Test, testCase: Test.Case?, performing function: @Sendable () async throws -> Void
  ) async throws {
    let watch = Watchdog.shared.watch(Volume.shared, seconds: seconds, name: test.name)
    defer { Watchdog.shared.end(watch) }
    try await function()
  }
}

extension Trait where Self == ConditionTrait {
  /// Skipped, with the reason, where nothing can be mounted.
  static var needsMount: Self {
    .enabled(if: TestEnvironment.runsMountedTests, "\(TestEnvironment.skipReason)")
  }
}

extension Trait where Self == MountedTrait {
  static func mounted(mebibytes: Int = 64, options: String = "") -> Self {
    MountedTrait(mebibytes: mebibytes, options: options)
  }
}

extension Trait where Self == DeadlineTrait {
  static func deadline(seconds: Double = 60) -> Self { DeadlineTrait(seconds: seconds) }
}

/// The volume `.mounted` made.
func sharedVolume() throws -> Volume { try #require(Volume.shared, "the suite lacks .mounted") }

/// One thread that looks after all tests that have a deadline.
final class Watchdog: Sendable {
  static let shared = Watchdog()

  private struct Watch {
    var deadline: Double
    var volume: Volume?
    var name: String
  }

  private struct State {
    var watches: [Int: Watch] = [:]
    var next = 0
    var isRunning = false
  }

  private let state = Mutex(State())

  func watch(_ volume: Volume?, seconds: Double, name: String) -> Int {
    state.withLock { state in
      state.next += 1
      state.watches[state.next] = Watch(deadline: now() + seconds, volume: volume, name: name)
      if !state.isRunning {
        state.isRunning = true
        var thread = pthread_t()
        pthread_create(
          &thread, nil,
          { _ in
            Watchdog.shared.run()
          }, nil)
      }
      return state.next
    }
  }

  func end(_ watch: Int) { state.withLock { state in _ = state.watches.removeValue(forKey: watch) } }

  private func run() -> Never {
    while true {
      usleep(500_000)
      let late = state.withLock { state in
        let late = state.watches.filter { $0.value.deadline < now() }
        for key in late.keys { state.watches[key] = nil }
        return late.map(\.value)
      }
      for watch in late {
        let message = Array("watchdog: \(watch.name) takes too long, its mount is aborted\n".utf8)
        _ = write(STDERR_FILENO, message, message.count)
        watch.volume?.abort()
      }
    }
  }
}
