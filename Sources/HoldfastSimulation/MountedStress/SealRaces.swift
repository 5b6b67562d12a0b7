/// Everybody at once on a few files: threads and processes take requests of every kind, break them, wait, are interrupted,
/// fenced, revoked and killed, while an observer holds the map of every standing scope against what was granted.
///
/// What an operation answers cannot be known, but what a scope maps while its request stands can.

import CHoldfast
import CPlatform
import Glibc
import HoldfastBase
import HoldfastClient

/// What a run is to do.
public struct SealRaceOptions: Sendable {
  public var seconds = 10
  public var seed: UInt64 = 1
  /// Threads that take and break; each starts processes besides.
  public var jobs = 4
  public init() {}
}

/// What came of it.
public struct SealRaceOutcome: Sendable {
  public var seed: UInt64
  public var counts = SealRaceCounts()
  public var failure: String?
}

/// Works in a new folder of `directory`, which is removed afterwards.
public func runSealRaces(directory: String, options: SealRaceOptions) -> SealRaceOutcome {
  var outcome = SealRaceOutcome(seed: options.seed)
  let folder = "\(directory)/holdfast-seal-races-\(options.seed)-\(getpid())"
  guard mkdir(folder, 0o755) == 0 else {
    outcome.failure = "mkdir \(folder): \(errnoName(errno))"
    return outcome
  }
  let arena = SealArena(folder: folder)
  let end = Monotonic.milliseconds() + options.seconds * 1000
  let jobs = (0..<options.jobs).map { SealRacer(arena, seed: options.seed, job: $0) }
  Threads.run(options.jobs + 1) { index in
    if index == options.jobs {
      SealObserver(arena).run(until: end)
    } else {
      jobs[index].run(until: end)
    }
  }
  outcome.counts = arena.counts
  outcome.failure = arena.failure
  do throws(StressFailure) {
    try FolderRemoval.remove(Array(folder.utf8))
  } catch {
    if outcome.failure == nil { outcome.failure = "\(error)" }
  }
  return outcome
}

public struct SealRaceCounts: Sendable {
  public var granted = 0
  public var broken = 0
  public var refused = 0
  public var interrupted = 0
  public var fenced = 0
  public var revoked = 0
  public var killed = 0
  public var looks = 0
}

extension SealRaceCounts: CustomStringConvertible {
  public var description: String {
    "\(granted) requests granted, \(broken) conflicting operations done, \(refused) refused, \(interrupted) interrupted, "
      + "\(fenced) holders fenced, \(revoked) requests revoked, \(killed) processes killed, \(looks) looks at granted maps"
  }
}

enum Monotonic {
  static func milliseconds() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1000 + time.tv_nsec / 1_000_000
  }
}

/// A request that somebody was granted and has not begun to give back.
final class WatchedGrant: @unchecked Sendable {
  /// The observer's own handle of the file.
  let file: OpenFile
  /// Nobody else's.
  let name: String
  let blocks: Range<UInt64>?
  /// Of the scope, as granted.
  let map: ObservedMap
  private let lock = Lock()
  private var stands = true

  init(_ file: consuming OpenFile, name: String, blocks: Range<UInt64>?, map: ObservedMap) {
    self.file = file
    self.name = name
    self.blocks = blocks
    self.map = map
  }

  var isStanding: Bool { lock.withLock { stands } }

  /// From here on it may go.
  func letGo() { lock.withLock { stands = false } }
}

/// What the racers and the observer share.
final class SealArena: @unchecked Sendable {
  static let files = 5
  let folder: String
  private let lock = Lock()
  private var grants: [ObjectIdentifier: WatchedGrant] = [:]
  private var found: String?
  private var tally = SealRaceCounts()
  private var lastName = 0

  init(folder: String) { self.folder = folder }

  func path(_ index: Int) -> String { "\(folder)/f\(index)" }
  var counts: SealRaceCounts { lock.withLock { tally } }
  var failure: String? { lock.withLock { found } }
  func fail(_ story: String) { lock.withLock { if found == nil { found = story } } }
  func count(_ what: WritableKeyPath<SealRaceCounts, Int>, _ number: Int = 1) {
    lock.withLock { tally[keyPath: what] += number }
  }

  var standing: [WatchedGrant] { lock.withLock { Array(grants.values) } }
  func add(_ grant: WatchedGrant) { lock.withLock { grants[ObjectIdentifier(grant)] = grant } }

  func remove(_ grant: WatchedGrant) {
    grant.letGo()
    _ = lock.withLock { grants.removeValue(forKey: ObjectIdentifier(grant)) }
  }

  func uniqueName() -> String {
    lock.withLock {
      lastName += 1
      return "r\(lastName)"
    }
  }
}

/// Looks at every granted scope, again and again.
struct SealObserver {
  private let arena: SealArena

  init(_ arena: SealArena) { self.arena = arena }

  func run(until end: Int) {
    while Monotonic.milliseconds() < end, arena.failure == nil {
      let grants = arena.standing
      for grant in grants {
        do throws(ClientError) {
          if let story = try look(at: grant) { arena.fail(story) }
        } catch {
          arena.fail("the observer: \(error.explanation)")
        }
      }
      if grants.isEmpty { usleep(500) }
    }
  }

  /// What is wrong; nil when nothing is.
  private func look(at grant: WatchedGrant) throws(ClientError) -> String? {
    guard let now = try ObservedMap(of: grant.file) else { return nil }
    arena.count(\.looks)
    guard let difference = Self.difference(granted: grant.map, blocks: grant.blocks, now: now) else { return nil }
    // It changed. Had the request gone by then? Whoever lets go says so first; a fence or a revoke shows in the list.
    guard grant.isStanding, try Self.stands(grant.name, of: grant.file), grant.isStanding else { return nil }
    return "\(difference), and request \(grant.name) stands"
  }

  static func stands(_ name: String, of file: borrowing OpenFile) throws(ClientError) -> Bool {
    String(decoding: try file.holders(), as: UTF8.self).contains("\"name\":\"\(name)\"")
  }

  /// How the scope's part of a map differs from what was granted; nil when it does not.
  static func difference(granted: ObservedMap, blocks: Range<UInt64>?, now: ObservedMap) -> String? {
    if now.generation < granted.generation {
      return "the generation went back from \(granted.generation) to \(now.generation)"
    }
    let scope = ObservedMap(generation: now.generation, extents: now.within(blocks))
    if scope.extents == granted.extents { return nil }
    return "the map of blocks \(blocks.map { "\($0)" } ?? "of the whole file") changed from \(granted) to \(scope)"
  }
}

extension ObservedMap {
  /// Nil when it changed while it was read.
  init?(of file: borrowing OpenFile) throws(ClientError) {
    let map = try file.map()
    self.init(
      generation: map.generation,
      extents: map.extents.map {
        MapExtent(
          logical: $0.logical, physical: $0.physical, length: $0.length, isPlain: !$0.isUnwritten && !$0.isShared)
      })
  }
}
