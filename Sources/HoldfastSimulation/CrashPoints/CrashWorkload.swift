/// The workloads whose crash points are exhausted, after the bounds of CrashMonkey's ACE (Mohan et al., OSDI 2018).
///
/// Bounds
/// - Names: A/foo, A/bar, B/foo, B/bar. A and B stay.
/// - Before: A/foo is a file of 10000 bytes with attribute x0; B/foo has 5000 bytes and a hole up to 20000; B/bar is an
///   empty directory; A/bar is not there. All of it durable, the volume freshly mounted.
/// - Actions: every `CrashAction` on every name or ordered pair of names.
/// - After each action one `PersistencePoint`; the last action may be followed by a remount, too.
/// - One and two actions: every workload. Three: a sample by seed.
/// - A workload with an action that must be refused (no such name, a seal in the way) is *void*: it is a shorter one.
///
/// fsync and fdatasync go to the file the action was about; when it left none, to the first of the four names that is
/// a file. fsync of the directory goes to the directory of that name.

/// One of the four names.
public enum CrashName: Int, CaseIterable, Sendable {
  case aFoo, aBar, bFoo, bBar

  /// Directory slots 1 and 2 are A and B; name numbers 1 and 2 are foo and bar.
  var place: Place { Place(1 + rawValue / 2, 1 + rawValue % 2) }
}

extension CrashName: CustomStringConvertible {
  public var description: String { ["A/foo", "A/bar", "B/foo", "B/bar"][rawValue] }
}

/// A change of the filesystem, with its parameters.
public enum CrashAction: Equatable, Sendable {
  public enum Write: String, CaseIterable, Sendable {
    /// 5000 bytes at the end; 5000 bytes at 1000; 3000 bytes 6000 behind the end.
    case append, overwrite, beyond
  }
  public enum Allocation: String, CaseIterable, Sendable {
    /// 8192 bytes behind the end, with and without a new size; 8000 bytes at 1000 punched; 8000 at 2000 zeroed.
    case allocate, keepSize = "keep-size", punch, zero
  }
  public enum Truncation: String, CaseIterable, Sendable {
    /// To a little less than half; by 7000 bytes.
    case down, up
  }

  case create(CrashName)
  case makeDirectory(CrashName)
  case symlink(CrashName)
  case write(CrashName, Write)
  case allocate(CrashName, Allocation)
  case truncate(CrashName, Truncation)
  case rename(CrashName, CrashName)
  case exchange(CrashName, CrashName)
  case link(CrashName, CrashName)
  case unlink(CrashName)
  case removeDirectory(CrashName)
  /// Attribute x0 (20 bytes) or x1 (3000 bytes).
  case setXattr(CrashName, isLong: Bool)
  case removeXattr(CrashName)
  /// By name, filled first.
  case seal(CrashName, persistent: Bool)
  case unseal(CrashName)
  /// All of its blocks to other places.
  case relocate(CrashName)

  /// All of them.
  public static let all: [CrashAction] = {
    var all: [CrashAction] = []
    for name in CrashName.allCases {
      all += [.create(name), .makeDirectory(name), .symlink(name), .unlink(name), .removeDirectory(name)]
      all += Write.allCases.map { .write(name, $0) }
      all += Allocation.allCases.map { .allocate(name, $0) }
      all += Truncation.allCases.map { .truncate(name, $0) }
      all += [.setXattr(name, isLong: false), .setXattr(name, isLong: true), .removeXattr(name)]
      all += [.seal(name, persistent: false), .seal(name, persistent: true), .unseal(name)]
      all.append(.relocate(name))
      for other in CrashName.allCases where other != name {
        all += [.rename(name, other), .link(name, other)]
        if other.rawValue > name.rawValue { all.append(.exchange(name, other)) }
      }
    }
    return all
  }()
}

extension CrashAction: CustomStringConvertible {
  public var description: String {
    switch self {
    case .create(let name): "create \(name)"
    case .makeDirectory(let name): "mkdir \(name)"
    case .symlink(let name): "symlink \(name)"
    case .write(let name, let how): "write \(name) \(how.rawValue)"
    case .allocate(let name, let how): "fallocate \(name) \(how.rawValue)"
    case .truncate(let name, let how): "truncate \(name) \(how.rawValue)"
    case .rename(let from, let to): "rename \(from) \(to)"
    case .exchange(let from, let to): "exchange \(from) \(to)"
    case .link(let from, let to): "link \(from) \(to)"
    case .unlink(let name): "unlink \(name)"
    case .removeDirectory(let name): "rmdir \(name)"
    case .setXattr(let name, let isLong): "setxattr \(name) \(isLong ? "long" : "short")"
    case .removeXattr(let name): "removexattr \(name)"
    case .seal(let name, let persistent): "seal \(name)\(persistent ? " persistent" : "")"
    case .unseal(let name): "unseal \(name)"
    case .relocate(let name): "relocate \(name)"
    }
  }
}

/// What follows an action.
public enum PersistencePoint: String, CaseIterable, Sendable {
  case none, fsync, fdatasync
  case fsyncDirectory = "fsync-directory"
  case sync
  /// Every handle closed, unmounted, mounted.
  case remount

  static let between: [PersistencePoint] = allCases.filter { $0 != .remount }
}

/// Actions, each with what follows it. As text: `write A/foo append, fsync; rename A/foo B/foo, none`.
public struct CrashWorkload: Equatable, Sendable {
  public struct Step: Equatable, Sendable {
    public var action: CrashAction
    public var point: PersistencePoint
  }
  public var steps: [Step]

  public init(steps: [Step]) { self.steps = steps }

  /// Reads a workload as `description` writes it; nil when it is none.
  public init?(text: String) {
    steps = []
    for part in text.split(separator: ";") {
      let halves = part.split(separator: ",").map { $0.split(separator: " ").joined(separator: " ") }
      guard halves.count == 2, let action = CrashAction.all.first(where: { "\($0)" == halves[0] }),
        let point = PersistencePoint(rawValue: halves[1])
      else { return nil }
      steps.append(Step(action: action, point: point))
    }
    guard !steps.isEmpty, steps.count <= Self.mostSteps else { return nil }
  }

  /// Handle slots bound it: two a step.
  public static let mostSteps = 3
}

extension CrashWorkload: CustomStringConvertible {
  public var description: String { steps.map { "\($0.action), \($0.point.rawValue)" }.joined(separator: "; ") }
}
