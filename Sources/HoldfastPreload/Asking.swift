/// The program's threads ask, the keeper answers: one question at a time, by a word in memory that both wait on
/// (futex), since they share no descriptor.
///
/// A signal's handler may ask in the middle of a transfer or of a question of its own thread. In a question it gets
/// no answer; in a transfer it does not wait for others, who may be waiting for that transfer. No answer means real
/// calls, which are always right.

import CPreload
import Synchronization

struct Question {
  enum Kind: UInt8 {
    /// A file that is served already: another descriptor of it.
    case find
    /// A file not yet served; `descriptor` holds a layout, or is for reading only.
    case make
    /// Take the layout of `file` again.
    case grant
    /// Return it: this thread is about to change the map.
    case release
    /// The last descriptor of `file` is closed.
    case detach
    /// Map blocks of `file`; the answer is the address, or minus an errno.
    case map
    /// Return the layout for good: what is mapped is mapped through the mount from now on.
    case convert
    /// Every mapping of every file, likewise; the answer is about those within `length` bytes at `address`, of 0 about all.
    case convertAll
    /// Mappings are gone: return the layouts of files that had nothing else.
    case reap
    /// Return everything, forever: the process ends, or one of our numbers is taken from us.
    case retire
  }

  var kind: Kind = .find
  var file = 0
  var descriptor: Int32 = 0
  /// The asking thread, and transfers it has under way itself.
  var thread: Int32 = 0
  var ownTransfers: UInt32 = 0
  var device: UInt64 = 0
  var inode: UInt64 = 0
  var isWriting = false
  /// Of `find`: the descriptor is known to be direct_io.
  var isLate = false
  /// Of `make`: through the mount's page cache, without a layout.
  var isCached = false
  var serial: UInt64 = 0
  var address: UInt = 0
  var length = 0
  var protection: Int32 = 0
  var flags: Int32 = 0
  var offset: Int64 = 0

  init(_ kind: Kind) { self.kind = kind }
}

struct Answer {
  /// 0 or an errno.
  var code: Int32 = 0
  var file = 0
  /// The image in the keeper's table, where the program's has none yet; else -1.
  var image: Int32 = -1
  var address: UInt = 0

  init(code: Int32 = 0) { self.code = code }
}

extension UnsafeMutablePointer where Pointee == Registry {
  /// nil: nobody answers now.
  func ask(_ question: Question) -> Answer? {
    let isAsking = holdfast_thread_is_asking()!
    let ownTransfers = holdfast_thread_transfers()!.pointee
    guard isAsking.pointee == 0 else { return nil }
    isAsking.pointee = 1
    defer { isAsking.pointee = 0 }
    guard ownTransfers == 0 || askLock.tryLock() else { return nil }
    if ownTransfers == 0 { askLock.lock() }
    defer { askLock.unlock() }
    guard startKeeper(self) else { return nil }
    pointee.question = question
    pointee.question.thread = holdfast_gettid()
    pointee.question.ownTransfers = ownTransfers
    phase.set(1)
    phase.wait(while: 1)
    let answer = pointee.answer
    phase.set(0)
    return answer
  }

  /// The same, until the answer is another than `code`, or the patience is over.
  func ask(_ question: Question, again code: Int32, _ patience: MillisecondPatience) -> Answer? {
    var patience = patience
    var answer = ask(question)
    while answer?.code == code, !patience.isOver {
      patience.wait()
      answer = ask(question)
    }
    return answer
  }
}
