/// The threads that take requests from the kernel and run the operations.
///
/// In place of `fuse_session_loop_mt`, which cancels its threads (through our read hook's frames), can lose a
/// signal that arrives between its check and its wait, and owns the buffers: ours place a WRITE's data on a page
/// boundary, as O_DIRECT images want it. Threads start when all others are busy, up to `limit`, and stay.
/// Owns: the list of threads and the counts of busy and ended ones, under `lock`.

import CFuse3
import Glibc
import HoldfastBase
import Synchronization

final class WorkerPool: @unchecked Sendable {
  /// Called on a worker's thread, once, when the session is over: unmounted, aborted or asked to stop.
  private let onEnd: @Sendable () -> Void
  /// May take a request (its bytes, their count, the descriptor) before libfuse sees it; true when it did.
  private let answerDirectly: @Sendable (UnsafeRawPointer, Int, Int32) -> Bool
  private nonisolated(unsafe) let session: OpaquePointer
  private let limit: Int
  private let idle = Atomic<Int>(0)
  private let lock = Lock()
  private var threads: [Thread] = []
  private var ended = 0

  init(
    session: OpaquePointer, limit: Int, answerDirectly: @escaping @Sendable (UnsafeRawPointer, Int, Int32) -> Bool,
    onEnd: @escaping @Sendable () -> Void
  ) {
    self.session = session
    self.limit = limit
    self.answerDirectly = answerDirectly
    self.onEnd = onEnd
  }

  func start() { addWorker() }

  /// Makes every worker leave after the request it is at, and waits for that.
  func stop() {
    fuse_session_exit(session)
    while true {
      let (waiting, all) = lock.withLock { (threads.count - ended, threads) }
      if waiting == 0 { break }
      // A wake-up that comes just before the read is lost on it, hence again until all have left.
      for thread in all { thread.wake() }
      usleep(1000)
    }
    for thread in threads { thread.join() }
    threads = []
  }

  private func addWorker() {
    lock.withLock {
      guard threads.count < limit else { return }
      idle.wrappingAdd(1, ordering: .relaxed)
      threads.append(Thread(name: "worker \(threads.count)") { self.work() })
    }
  }

  private func work() {
    let memory = RequestMemory()
    defer { memory.deallocate() }
    var buffer = fuse_buf()
    let descriptor = fuse_session_fd(session)
    while fuse_session_exited(session) == 0 {
      buffer.mem = memory.start
      buffer.flags = fuse_buf_flags(rawValue: 0)
      let count = fuse_session_receive_buf(session, &buffer)
      if count == -EINTR { continue }
      guard count > 0 else {
        fuse_session_exit(session)
        break
      }
      // A burst of FORGETs, each a moment's work, should not start all the threads.
      let opcode = memory.start.load(fromByteOffset: 4, as: UInt32.self)
      let isBrief = opcode == KernelTransport.Opcode.forget || opcode == KernelTransport.Opcode.batchForget
      if !isBrief, idle.wrappingSubtract(1, ordering: .relaxed).newValue == 0 { addWorker() }
      if !answerDirectly(memory.start, Int(count), descriptor) { fuse_session_process_buf(session, &buffer) }
      if !isBrief { idle.wrappingAdd(1, ordering: .relaxed) }
    }
    let isFirst = lock.withLock {
      ended += 1
      return ended == 1
    }
    if isFirst { onEnd() }
  }
}

/// Room for one request, its start placed so that the data of a WRITE begins a page: behind the header (40 bytes)
/// and `fuse_write_in` (40).
struct RequestMemory {
  static let writeHeaderBytes = 80
  /// The largest WRITE, and a page for headers as the kernel demands.
  static let capacity = TransferBuffers.bytes + Block.size

  private let allocation: UnsafeMutableRawPointer
  let start: UnsafeMutableRawPointer

  init() {
    allocation = .allocate(byteCount: Self.capacity + Block.size, alignment: Block.size)
    start = allocation + Block.size - Self.writeHeaderBytes
  }

  func deallocate() { allocation.deallocate() }
}
