/// What holders and the log are told of recalls, fences and revokes.
///
/// Owns: nothing. Who recalls may hold an inode's lock, and telling takes system calls: so it is done by a thread that has
/// nothing else to do (`MountSession.notices`), or a holder might be fenced before it was asked.

import CFuse3
import HoldfastBase
import HoldfastSeal

extension MountSession {
  func startHolderNotices() {
    store.seals.onRecall = { [unowned self] asked in notices.submit { self.tellRecalled(asked) } }
    store.seals.onTakenAway = { [unowned self] taken, how in notices.submit { self.tellTakenAway(taken, how) } }
    store.seals.onWriteLayoutEnded = { [unowned self] inode, blocks in dropPages(of: inode, blocks) }
  }

  func endHolderNotices() {
    store.seals.onRecall = nil
    store.seals.onTakenAway = nil
    store.seals.onWriteLayoutEnded = nil
  }

  private func tellRecalled(_ asked: [RequestInfo]) {
    for info in asked {
      log.tell("recall of \(info.text): to let go within \(info.recallMilliseconds ?? 0) ms")
      wakePoll(info)
      if let signal = info.request.signal, case .process(let process) = info.request.lifetime,
        !processWatcher.signal(process, signal, by: info.request.uid)
      {
        log.tell("signal \(signal) to process \(process) was not sent: it is gone, or another user's")
      }
    }
  }

  private func tellTakenAway(_ taken: [RequestInfo], _ how: TakenAway) {
    for info in taken {
      log.tell("\(how.rawValue): \(info.text)")
      wakePoll(info)
    }
  }

  /// Whoever polls the holder's handle looks again.
  private func wakePoll(_ info: RequestInfo) {
    guard case .handle(let handle) = info.request.lifetime,
      let notification = handles.exchangePollNotification(handle, nil)
    else { return }
    notifier.wakePoll(notification)
  }
}

extension RequestInfo {
  /// For the log.
  fileprivate var text: String {
    "request '\(request.name)' on inode \(inode) (\(request.specification.text)) of uid \(request.uid), "
      + "pid \(request.holderPid) (\(request.command.printable))"
  }
}
