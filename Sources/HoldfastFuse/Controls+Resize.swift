/// RESIZE: growing and shrinking the mounted volume. It is made on a thread of its own, for it may take minutes and wait for
/// holders; a signal to the caller and the unmount end it (`ResizeControl.cancel`), and then the size is what it was.

import CHoldfast
import Glibc
import HoldfastBase
import HoldfastSeal
import HoldfastStore

/// The resize under way, if there is one. Owns: it, under `lock`.
final class ResizeSlot: @unchecked Sendable {
  private let lock = Lock()
  private var current: ResizeControl?
  private var isClosed = false

  /// nil while another one is under way, and after `close`.
  func begin() -> ResizeControl? {
    lock.withLock {
      guard current == nil, !isClosed else { return nil }
      let control = ResizeControl()
      current = control
      return control
    }
  }

  func end() { lock.withLock { current = nil } }

  var progress: (moved: UInt64, planned: UInt64)? { lock.withLock { current }?.progress }

  /// The volume is being unmounted: what is under way ends soon, and nothing else begins.
  func close() {
    let control = lock.withLock {
      isClosed = true
      return current
    }
    control?.cancel()
  }
}

/// What is asked for.
struct ResizeRequest {
  enum Kind { case grow, shrink, progress }

  let kind: Kind
  /// Bytes; 0 of a grow: all there is.
  let byteCount: UInt64

  /// Its fields are all at the structure's beginning; what follows is answer.
  init(_ call: ControlCall) throws(FSError) {
    guard call.input.count == MemoryLayout<holdfast_resize>.size, let input = call.input.baseAddress,
      input.loadUnaligned(as: UInt32.self) == UInt32(HOLDFAST_ABI_VERSION)
    else { throw .invalid(.argument) }
    byteCount = input.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
    switch input.loadUnaligned(fromByteOffset: 4, as: UInt32.self) {
    case UInt32(HOLDFAST_RESIZE_GROW): kind = .grow
    case UInt32(HOLDFAST_RESIZE_SHRINK): kind = .shrink
    case UInt32(HOLDFAST_RESIZE_PROGRESS) where byteCount == 0: kind = .progress
    default: throw .invalid(.argument)
    }
  }
}

/// A resize that somebody waits for: its reply is answered once, by the thread that makes it.
private final class ResizeInProgress: Interruptible, @unchecked Sendable {
  private let control: ResizeControl
  private var reply: Reply<Control>?
  /// Held while the reply is registered for interruption.
  private let registering = Lock()

  init(_ control: ResizeControl, _ reply: consuming Reply<Control>) {
    self.control = control
    self.reply = consume reply
    super.init()
  }

  override func giveUp() { control.cancel() }

  func register() { registering.withLock { reply!.onInterrupt(self) } }

  func takeReply() -> Reply<Control> {
    registering.lock()
    let reply = self.reply.take()!
    registering.unlock()
    reply.ignoreInterrupts()
    return reply
  }
}

extension MountSession {
  func resize(_ reply: consuming Reply<Control>, _ call: ControlCall) {
    counters.count(.ioctl)
    let request: ResizeRequest
    let control: ResizeControl
    do throws(FSError) {
      request = try ResizeRequest(call)
      guard isAdministrator(call.caller) else { throw .notPermitted }
      if request.kind == .progress {
        guard let progress = resizing.progress else { throw .noData }
        reply.send(ResizeAnswer(progress, of: store).bytes, result: 0)
        return
      }
      try checkNotReadOnly()
      guard let begun = resizing.begin() else { throw .resizeInProgress }
      control = begun
    } catch {
      fail(reply, error, .ioctl, call.inode)
      return
    }
    let (caller, inode) = (call.caller, call.inode)
    let waiting = ResizeInProgress(control, reply)
    waiting.register()
    resizes.submit {
      let result = self.perform(request, control, by: caller)
      self.resizing.end()
      self.answer(waiting.takeReply(), result, inode)
    }
  }

  private func perform(
    _ request: ResizeRequest, _ control: ResizeControl, by caller: Credentials
  ) -> Result<ResizeReport, FSError> {
    do throws(FSError) {
      if request.kind == .grow {
        let size = request.byteCount == 0 ? try store.availableByteCount() : request.byteCount
        return .success(try store.grow(to: size))
      }
      let actor = Actor(credentials: caller, handle: nil, waits: true)
      return .success(try store.shrink(to: request.byteCount, by: actor, control))
    } catch {
      return .failure(error)
    }
  }

  private func answer(
    _ reply: consuming Reply<Control>, _ result: Result<ResizeReport, FSError>, _ inode: InodeNumber
  ) {
    switch result {
    case .failure(let error):
      log.logger.notice("resize: \(error)")
      fail(reply, error, .ioctl, inode)
    case .success(let report):
      if report.outcome == .done {
        log.logger.notice("the volume has \(report.byteCount) bytes now; it had \(report.previousByteCount)")
      } else {
        counters.countFailure(.ioctl)
      }
      if let failure = report.cutFailure { log.logger.warning("the image could not be cut: \(failure)") }
      reply.send(ResizeAnswer(report).bytes, result: -report.outcome.errno)
    }
  }
}

extension ResizeReport.Outcome {
  fileprivate var errno: Int32 {
    switch self {
    case .done: 0
    case .obstructed: ETXTBSY
    case .noRoom: ENOSPC
    case .tooSmall: EINVAL
    }
  }

  fileprivate var code: UInt32 {
    switch self {
    case .done: UInt32(HOLDFAST_RESIZE_DONE)
    case .obstructed: UInt32(HOLDFAST_RESIZE_OBSTRUCTED)
    case .noRoom: UInt32(HOLDFAST_RESIZE_NO_ROOM)
    case .tooSmall: UInt32(HOLDFAST_RESIZE_TOO_SMALL)
    }
  }
}

/// `struct holdfast_resize` as it goes back.
private struct ResizeAnswer {
  private(set) var bytes = [UInt8](repeating: 0, count: MemoryLayout<holdfast_resize>.size)

  init(_ progress: (moved: UInt64, planned: UInt64), of store: Store) {
    var head = holdfast_resize()
    head.version = UInt32(HOLDFAST_ABI_VERSION)
    head.flags = UInt32(HOLDFAST_RESIZE_PROGRESS)
    head.current_size = store.superblock.totalBlocks << UInt64(Block.shift)
    head.previous_size = head.current_size
    head.moved_blocks = progress.moved
    head.planned_blocks = progress.planned
    put(head)
  }

  init(_ report: ResizeReport) {
    var head = holdfast_resize()
    head.version = UInt32(HOLDFAST_ABI_VERSION)
    head.outcome = report.outcome.code
    head.cut_errno = UInt32(report.cutFailure?.errno ?? 0)
    head.previous_size = report.previousByteCount
    head.current_size = report.byteCount
    head.smallest_size = report.smallestByteCount
    head.moved_blocks = report.movedBlocks
    head.planned_blocks = report.movedBlocks
    head.obstacle_count = UInt32(clamping: report.obstacles.count)
    put(head)
    let size = MemoryLayout<holdfast_resize_obstacle>.size
    let first = bytes.count - Int(HOLDFAST_RESIZE_OBSTACLES) * size
    for (index, obstacle) in report.obstacles.prefix(Int(HOLDFAST_RESIZE_OBSTACLES)).enumerated() {
      bytes.withUnsafeMutableBytes {
        $0.storeBytes(
          of: holdfast_resize_obstacle(obstacle), toByteOffset: first + index * size, as: holdfast_resize_obstacle.self)
      }
    }
  }

  private mutating func put(_ head: holdfast_resize) {
    bytes.withUnsafeMutableBytes { $0.storeBytes(of: head, as: holdfast_resize.self) }
  }
}

extension holdfast_resize_obstacle {
  fileprivate init(_ obstacle: ResizeObstacle) {
    self.init()
    inode = obstacle.inode
    offset = obstacle.byteOffset
    length = obstacle.byteCount
    image_end = obstacle.end << UInt64(Block.shift)
    switch obstacle.reason {
    case .request(let info):
      reason = UInt32(HOLDFAST_RESIZE_OBSTACLE_REQUEST)
      pid = info.request.holderPid
      uid = info.request.uid
      // Both are shorter than their fields, and end with the zeros that are there.
      withUnsafeMutableBytes(of: &name) { $0.copyBytes(from: info.request.name.utf8.prefix($0.count - 1)) }
      withUnsafeMutableBytes(of: &command) { $0.copyBytes(from: info.request.command.utf8.prefix($0.count - 1)) }
    case .holder(_, let processes, let inQuarantine):
      reason = UInt32(inQuarantine ? HOLDFAST_RESIZE_OBSTACLE_QUARANTINE : HOLDFAST_RESIZE_OBSTACLE_HOLDER)
      pid = processes.first ?? 0
    }
  }
}
