/// The keeper: three threads with a table of descriptors of their own (unshare), where everything lies that the
/// program must not meet: the handles that layouts are bound to, the images that leases hang on. So the program's
/// numbers are its own, a child inherits none of ours, and closing ours drops no lock (fcntl(2)) of the program's.
///
/// One answers the program's threads (Asking.swift), the others wait for recalls and mend mappings after them
/// (Watcher.swift); `keeperLock` is held by whichever works, and never while it waits for transfers to end.

import CHoldfast
import CPreload
import Synchronization

/// With the ask lock held. False: no thread, no table of its own.
func startKeeper(_ registry: UnsafeMutablePointer<Registry>) -> Bool {
  let keeper = registry.pointee.keeper.load(ordering: .acquiring)
  if keeper != 0 { return keeper > 0 && registry.isOurs }
  registry.pointee.process.store(holdfast_getpid(), ordering: .releasing)
  registry.phase.set(1)
  guard
    holdfast_start_thread({ _ in
      if let registry = registryOfKeeper() { serveQuestions(registry) }
      return nil
    }) == 0
  else {
    registry.pointee.keeper.store(-1, ordering: .releasing)
    registry.phase.set(0)
    return false
  }
  registry.phase.wait(while: 1)
  return registry.pointee.keeper.load(ordering: .acquiring) > 0
}

func registryOfKeeper() -> UnsafeMutablePointer<Registry>? { registry }

private func serveQuestions(_ registry: UnsafeMutablePointer<Registry>) {
  var keeper = holdfast_gettid()
  if holdfast_own_descriptors() != 0 { keeper = -1 }
  registry.pointee.wakeEvent = keeper < 0 ? -1 : holdfast_raw_eventfd()
  registry.pointee.mendEvent = keeper < 0 ? -1 : holdfast_raw_eventfd()
  if registry.pointee.wakeEvent < 0 || registry.pointee.mendEvent < 0 { keeper = -1 }
  if keeper > 0, !startHelpers() { keeper = -1 }
  registry.pointee.keeper.store(keeper, ordering: .releasing)
  registry.phase.set(0)
  guard keeper > 0 else { return }
  while true {
    // 0 and 2: the next question is not there yet.
    registry.phase.wait(until: 1)
    registry.pointee.answer = registry.answer(registry.pointee.question)
    registry.phase.set(2)
  }
}

private func startHelpers() -> Bool {
  let watcher = holdfast_start_thread({ _ in
    if let registry = registryOfKeeper() { watchRecalls(registry) }
    return nil
  })
  guard watcher == 0 else { return false }
  let mender = holdfast_start_thread({ _ in
    if let registry = registryOfKeeper() { mendMappings(registry) }
    return nil
  })
  return mender == 0
}

extension UnsafeMutablePointer where Pointee == Registry {
  fileprivate func answer(_ question: Question) -> Answer {
    keeperLock.lock()
    defer { keeperLock.unlock() }
    switch question.kind {
    case .find: return find(question)
    case .make: return make(question)
    case .grant:
      let code = grant(question.file)
      return admitted(question.file, code)
    case .release: release(question.file, question.ownTransfers)
    case .detach: detach(question.file, question.ownTransfers)
    case .map: return map(question)
    case .convert: return Answer(code: convert(question.file, question.ownTransfers))
    case .convertAll:
      var code: Int32 = 0
      for index in 0..<Registry.maximumFiles where files[index].isUsed && files[index].isMapped {
        let failure = convert(index, question.ownTransfers)
        let isAskedFor = question.length == 0 || hasMappings(index, within: question.address, question.length)
        if failure != 0, isAskedFor { code = failure }
      }
      return Answer(code: code)
    case .reap:
      for index in 0..<Registry.maximumFiles where files[index].isUsed { reap(index, question.ownTransfers) }
    case .retire:
      for index in 0..<Registry.maximumFiles where files[index].isUsed {
        files[index].word.bitwiseOr(ServedFile.plain, ordering: .acquiringAndReleasing)
        release(index, question.ownTransfers)
      }
    }
    return Answer()
  }

  // MARK: Files

  private func find(_ question: Question) -> Answer {
    for index in 0..<Registry.maximumFiles where files[index].isUsed {
      guard files[index].inode == question.inode, files[index].device == question.device,
        files[index].isWriting == question.isWriting
      else { continue }
      let state = files[index].word.load(ordering: .acquiring)
      if state & ServedFile.plain != 0 { return Answer(code: ENODATA) }
      // A handle from before the grant may use the page cache: then there is no layout beside it.
      let wasDirect =
        question.isLate
        || state & ServedFile.direct != 0 && (files[index].grantSerial <= question.serial || !question.isWriting)
      if !wasDirect, state & ServedFile.cached == 0 {
        release(index, question.ownTransfers)
        let code = grant(index)
        guard code == 0 else { return Answer(code: code) }
      }
      addReference(index)
      return admitted(index, 0)
    }
    return Answer(code: ENOENT)
  }

  private func addReference(_ index: Int) {
    let (before, _) = files[index].references.wrappingAdd(1, ordering: .acquiringAndReleasing)
    if before == 0 { endOrphan(index) }
  }

  private func endOrphan(_ index: Int) {
    if files[index].isOrphan { pointee.orphans.wrappingSubtract(1, ordering: .relaxed) }
    files[index].isOrphan = false
  }

  private func make(_ question: Question) -> Answer {
    for index in 0..<Registry.maximumFiles where !files[index].isUsed {
      var path = DescriptorPath(thread: question.thread, descriptor: question.descriptor)
      let handle = path.open(O_CLOEXEC | O_NOCTTY | (question.isWriting ? O_RDWR : O_RDONLY))
      guard handle >= 0 else { return Answer(code: -handle) }
      let file = files + index
      file.pointee.isUsed = true
      file.pointee.handle = handle
      file.pointee.device = question.device
      file.pointee.inode = question.inode
      file.pointee.isWriting = question.isWriting
      file.pointee.references.store(1, ordering: .relaxed)
      if !question.isWriting { pointee.readers.wrappingAdd(1, ordering: .relaxed) }
      let code = question.isCached ? (goThroughMount(index) ? 0 : EAGAIN) : grant(index)
      guard code == 0 else {
        forget(index)
        return Answer(code: code)
      }
      return admitted(index, 0)
    }
    return Answer(code: ENFILE)
  }

  /// What the program's thread has to know to use a file.
  private func admitted(_ index: Int, _ code: Int32) -> Answer {
    var answer = Answer(code: code)
    answer.file = index
    if code == 0, let layout = files[index].layout,
      volumes[files[index].volume].descriptor.load(ordering: .acquiring) == 0
    {
      answer.image = layout.pointee.space.image.descriptor
    }
    return answer
  }

  /// The number is free for another file; who still has the old generation sees that.
  func forget(_ index: Int) {
    let file = files + index
    holdfast_direct_close(file.pointee.handle)
    letGoOfPageCache(index)
    endOrphan(index)
    if !file.pointee.isWriting { pointee.readers.wrappingSubtract(1, ordering: .relaxed) }
    file.pointee.generation.wrappingAdd(1, ordering: .acquiringAndReleasing)
    file.pointee.word.bitwiseAnd(ServedFile.transfers, ordering: .acquiringAndReleasing)
    file.pointee.references.store(0, ordering: .relaxed)
    file.pointee.isStored.store(0, ordering: .relaxed)
    file.pointee.isUnsynced.store(0, ordering: .relaxed)
    file.pointee.retryAt.store(0, ordering: .relaxed)
    file.pointee.isLocked.store(0, ordering: .relaxed)
    file.pointee.cachedDescriptor.store(0, ordering: .relaxed)
    file.pointee.grantNanoseconds = 0
    file.pointee.isMapped = false
    file.pointee.isRecalled = false
    file.pointee.isLost = false
    freeMappedLayout(index)
    file.pointee.isUsed = false
  }

  private func detach(_ index: Int, _ ownTransfers: UInt32) {
    settle(index)
    guard files[index].isUsed, files[index].references.load(ordering: .acquiring) == 0 else { return }
    if files[index].isMapped {
      if hasMappings(index) {
        pointee.orphans.wrappingAdd(1, ordering: .relaxed)
        files[index].isOrphan = true
        return
      }
      files[index].isMapped = false
    }
    release(index, ownTransfers)
    forget(index)
  }

  private func reap(_ index: Int, _ ownTransfers: UInt32) {
    settle(index)
    // Its mappings may be the mount's by now.
    guard files[index].isOrphan, !files[index].isMapped || !hasMappings(index) else { return }
    files[index].isMapped = false
    release(index, ownTransfers)
    forget(index)
  }
}

/// "/proc/self/task/THREAD/fd/DESCRIPTOR": a descriptor in a thread's table.
struct DescriptorPath {
  private var bytes: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0, 0)

  init(thread: Int32, descriptor: Int32) {
    withUnsafeMutableBytes(of: &bytes) { bytes in
      var end = 0
      func append(_ text: StaticString) {
        for index in 0..<text.utf8CodeUnitCount { bytes[end + index] = text.utf8Start[index] }
        end += text.utf8CodeUnitCount
      }
      func append(_ number: Int32) {
        var divisor: Int32 = 1
        while number / divisor >= 10 { divisor *= 10 }
        while divisor > 0 {
          bytes[end] = UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / divisor % 10)
          end += 1
          divisor /= 10
        }
      }
      append("/proc/self/task/")
      append(thread)
      append("/fd/")
      append(descriptor)
    }
  }

  /// open(2): the descriptor, or minus the errno.
  mutating func open(_ flags: Int32) -> Int32 {
    withUnsafeBytes(of: &bytes) {
      holdfast_raw_open($0.baseAddress!.assumingMemoryBound(to: CChar.self), flags)
    }
  }
}
