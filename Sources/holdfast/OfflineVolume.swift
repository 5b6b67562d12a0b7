/// A volume that is not mounted, opened by this process to be resized: what a mount does first is done (the journal
/// replayed, persistent seals and leases respected), and it is unmounted in order afterwards.

import Glibc
import HoldfastBase
import HoldfastClient
import HoldfastCommand
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

final class OfflineVolume {
  private let path: String
  private let store: Store
  private var names: [UInt64: String] = [:]

  init(_ path: String) throws(CommandError) {
    self.path = path
    let device = try ImageLock.open(path, mode: .readWrite, notice: complain)
    do throws(FSError) {
      store = try Store(mounting: device, options: StoreOptions())
    } catch {
      throw CommandError(path, "\(error)")
    }
  }

  /// Resizes and unmounts.
  func resize(_ request: VolumeResize.Request) throws(CommandError) -> VolumeResize {
    let control = ResizeControl()
    let signals = EndingSignals { control.cancel() }
    defer { signals.end() }
    let report: ResizeReport
    do throws(FSError) {
      let look = { @Sendable () -> (moved: UInt64, planned: UInt64)? in control.progress }
      report = try ResizeProgress.showing(look) { () throws(FSError) -> ResizeReport in try perform(request, control) }
      names = paths(among: Set(report.obstacles.map(\.inode)))
      try store.unmount()
    } catch {
      try? store.unmount()
      throw CommandError(path, text(error))
    }
    return VolumeResize(report)
  }

  private func perform(
    _ request: VolumeResize.Request, _ control: ResizeControl
  ) throws(FSError) -> ResizeReport {
    switch request {
    case .grow(let size?): return try store.grow(to: size)
    case .grow(nil): return try store.grow(to: store.availableByteCount())
    case .shrink(let size):
      let credentials = Credentials(uid: geteuid(), gid: getegid(), pid: getpid())
      return try store.shrink(to: size, by: Actor(credentials: credentials, handle: nil), control)
    }
  }

  private func text(_ error: FSError) -> String {
    switch error {
    case .invalid: "cannot resize: grow takes no size below the volume's, shrink none above it"
    case .interrupted: "a signal came: the size is what it was"
    default: "cannot resize: \(error)"
    }
  }

  /// Where these are below the volume's root.
  func paths(of inodes: Set<UInt64>) -> [UInt64: String] { names.filter { inodes.contains($0.key) } }

  private func paths(among wanted: Set<UInt64>) -> [UInt64: String] {
    var found: [UInt64: String] = [:]
    var directories: [(inode: InodeNumber, path: String)] = [(RootDirectory.inode, "")]
    while found.count < wanted.count, let directory = directories.popLast() {
      try? store.readDirectory(directory.inode, after: 0) { entry in
        let name = String(decoding: entry.name, as: UTF8.self)
        if name == "." || name == ".." { return true }
        let path = "\(directory.path)/\(name)"
        if wanted.contains(entry.inode), found[entry.inode] == nil { found[entry.inode] = path }
        if entry.type == .directory { directories.append((entry.inode, path)) }
        return true
      }
    }
    return found
  }
}

extension VolumeResize {
  fileprivate init(_ report: ResizeReport) {
    let outcome: Outcome =
      switch report.outcome {
      case .done: .done
      case .obstructed: .obstructed
      case .noRoom: .noRoom
      case .tooSmall: .tooSmall
      }
    self.init(
      outcome: outcome, previousSize: report.previousByteCount, size: report.byteCount,
      smallestSize: report.smallestByteCount, movedBlocks: report.movedBlocks,
      obstacles: report.obstacles.map(Obstacle.init), obstacleCount: report.obstacles.count,
      cutErrno: report.cutFailure?.errno ?? 0)
  }
}

extension VolumeResize.Obstacle {
  fileprivate init(_ obstacle: ResizeObstacle) {
    switch obstacle.reason {
    case .request(let info):
      self.init(
        inode: obstacle.inode, offset: obstacle.byteOffset, length: obstacle.byteCount,
        reason: .request(name: info.request.name), pid: info.request.holderPid, uid: info.request.uid,
        command: info.request.command)
    case .holder(_, let processes, let inQuarantine):
      self.init(
        inode: obstacle.inode, offset: obstacle.byteOffset, length: obstacle.byteCount,
        reason: inQuarantine ? .quarantine : .holder, pid: processes.first ?? 0, uid: 0, command: "")
    }
  }
}

/// SIGINT, SIGTERM and SIGHUP call `body` instead of ending the process, until `end`.
private final class EndingSignals: @unchecked Sendable {
  private let body: @Sendable () -> Void
  private var thread = pthread_t()
  private var set = sigset_t()
  private var before = sigset_t()
  private let lock = Lock()
  private var isOver = false

  init(_ body: @escaping @Sendable () -> Void) {
    self.body = body
    sigemptyset(&set)
    for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&set, signal) }
    pthread_sigmask(SIG_BLOCK, &set, &before)
    pthread_create(
      &thread, nil,
      { context in
        Unmanaged<EndingSignals>.fromOpaque(context!).takeRetainedValue().run()
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
  }

  private func run() {
    var number: Int32 = 0
    while sigwait(&set, &number) == 0 {
      if lock.withLock({ isOver }) { return }
      body()
    }
  }

  func end() {
    lock.withLock { isOver = true }
    pthread_kill(thread, SIGTERM)
    pthread_join(thread, nil)
    pthread_sigmask(SIG_SETMASK, &before, nil)
  }
}
