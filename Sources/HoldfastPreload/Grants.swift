/// Taking and returning layouts. Called by the keeper's threads, `keeperLock` held.
///
/// A file's layout goes in this order: no new transfers (the bit `direct`), the last transfer ended, LAYOUT_RETURN,
/// its extents freed.

import CHoldfast
import CPreload
import Synchronization

extension UnsafeMutablePointer where Pointee == Registry {
  /// How long a file is left to real calls after its layout was returned before it had served `worthwhile` transfers:
  /// so many times what taking it took, which syncs the file. So at most a tenth of a growing file's time goes into
  /// that.
  private static var pauseFactor: UInt64 { 10 }
  private static var shortestPause: UInt64 { 500_000 }
  private static var longestPause: UInt64 { 1_000_000_000 }
  private static var worthwhile: UInt32 { 256 }

  /// 0, or the errno that says why there is no layout; EAGAIN: somebody recalls it now.
  func grant(_ index: Int) -> Int32 {
    let file = files + index
    if file.pointee.layout != nil { return file.pointee.isRecalled ? EAGAIN : 0 }
    guard file.pointee.word.load(ordering: .acquiring) & (ServedFile.plain | ServedFile.cached) == 0,
      !file.pointee.isLost
    else { return ENODATA }
    guard !file.pointee.isBeingGranted else { return EAGAIN }
    file.pointee.isBeingGranted = true
    // The daemon may have to wait for pages that somebody keeps who waits for another layout of ours: the watcher
    // must be free to return that.
    keeperLock.unlock()
    let start = holdfast_now()
    let (taken, why) = Self.take(file.pointee.handle, file.pointee.inode, isWriting: file.pointee.isWriting)
    let duration = holdfast_now() - start
    keeperLock.lock()
    file.pointee.isBeingGranted = false
    file.pointee.grantNanoseconds = duration
    let code = taken == nil ? why : accept(index, taken!)
    if code != 0 {
      postpone(index)
      if code == ESTALE { file.pointee.word.bitwiseOr(ServedFile.plain, ordering: .acquiringAndReleasing) }
      return code
    }
    if file.pointee.mappedLayout != nil, !moveMappings(index) {
      giveBack(index)
      wake(pointee.mendEvent)
      return ENODATA
    }
    file.pointee.served.store(0, ordering: .relaxed)
    file.pointee.grantSerial = pointee.serial.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue
    file.pointee.word.bitwiseOr(ServedFile.direct, ordering: .acquiringAndReleasing)
    wake(pointee.wakeEvent)
    return 0
  }

  /// Without a lock. nil: why not.
  private static func take(
    _ handle: Int32, _ inode: UInt64, isWriting: Bool
  ) -> (UnsafeMutablePointer<DirectLayout>?, Int32) {
    var request = LayoutRequest()
    request.isWrite = isWriting
    request.isBreakable = true
    request.isAsIs = true
    do throws(DirectError) {
      let name = try ImageName(mountOf: handle)
      let image = try name.withPath { (path) throws(DirectError) in try ImageFile(path: path, writable: isWriting) }
      let layout = try DirectLayout(file: handle, image: image, request: request)
      guard layout.inode == inode else { return (nil, EPROTO) }
      // Somebody may store into a hole through a mapping of the mount. The daemon hears of that when it can neither
      // wait for us nor tell anybody that it is refused.
      if !isWriting, !layout.isWhole { return (nil, ENODATA) }
      let place = UnsafeMutablePointer<DirectLayout>.allocate(capacity: 1)
      place.initialize(to: layout)
      return (place, 0)
    } catch {
      return (nil, error.errno)
    }
  }

  private func accept(_ index: Int, _ layout: UnsafeMutablePointer<DirectLayout>) -> Int32 {
    guard let volume = volume(of: layout.pointee.space.image) else {
      // Its end returns it.
      layout.deinitialize(count: 1)
      layout.deallocate()
      return ENFILE
    }
    files[index].layout = layout
    files[index].volume = volume
    return 0
  }

  /// Nobody is in the middle of asking for its layout.
  func settle(_ index: Int) {
    var patience = Patience()
    while files[index].isBeingGranted {
      keeperLock.unlock()
      patience.wait()
      keeperLock.lock()
    }
  }

  private func volume(of image: borrowing ImageFile) -> Int? {
    var identity = holdfast_identity()
    guard holdfast_identify(image.descriptor, &identity) == 0 else { return nil }
    for index in 0..<Registry.maximumVolumes {
      let volume = volumes + index
      if !volume.pointee.isUsed {
        volume.pointee.isUsed = true
        volume.pointee.device = identity.device
        volume.pointee.inode = identity.inode
        volume.pointee.isWritable = image.isWritable
        return index
      }
      if volume.pointee.device == identity.device, volume.pointee.inode == identity.inode,
        volume.pointee.isWritable == image.isWritable
      {
        return index
      }
    }
    return nil
  }

  /// No more transfers begin. True when none is left but so many of who asks, who is interrupted in them.
  func stop(_ index: Int, _ ownTransfers: UInt32 = 0) -> Bool {
    let word = files[index].word.bitwiseAnd(~ServedFile.direct, ordering: .acquiringAndReleasing).newValue
    return word & ServedFile.transfers <= ownTransfers
  }

  /// Returns the layout when its last transfer has ended.
  func release(_ index: Int, _ ownTransfers: UInt32) {
    settle(index)
    guard files[index].layout != nil else { return }
    let generation = files[index].generation.load(ordering: .relaxed)
    var patience = Patience()
    while !stop(index, ownTransfers) {
      // The watcher may do it meanwhile.
      keeperLock.unlock()
      patience.wait()
      keeperLock.lock()
      guard files[index].isUsed, files[index].generation.load(ordering: .relaxed) == generation else { return }
    }
    giveBack(index)
  }

  /// With no transfer left.
  func giveBack(_ index: Int) {
    let file = files + index
    guard let layout = file.pointee.layout else { return }
    file.pointee.layout = nil
    file.pointee.isRecalled = false
    let isStored = file.pointee.isStored.exchange(0, ordering: .acquiringAndReleasing) != 0
    postpone(index)
    let identifier = layout.pointee.identifier
    // Refused times (chattr +i meanwhile) leave it standing.
    if Self.returnLayout(file.pointee.handle, identifier, setTimes: isStored) < 0, isStored {
      _ = Self.returnLayout(file.pointee.handle, identifier, setTimes: false)
    }
    if file.pointee.isMapped, file.pointee.mappedLayout == nil {
      // Its extents say what the mappings are of.
      file.pointee.mappedLayout = layout
      wake(pointee.mendEvent)
    } else {
      Self.free(layout)
    }
  }

  /// What is left of a layout when its request has been returned: extents, lease.
  static func free(_ layout: UnsafeMutablePointer<DirectLayout>) {
    let ended = layout.move()
    layout.deallocate()
    ended.forget()
  }

  func freeMappedLayout(_ index: Int) {
    guard let layout = files[index].mappedLayout else { return }
    files[index].mappedLayout = nil
    Self.free(layout)
  }

  private static func returnLayout(_ handle: Int32, _ identifier: UInt64, setTimes: Bool) -> Int32 {
    var argument = holdfast_layout_return()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    argument.flags = setTimes ? HOLDFAST_LAYOUT_SET_TIMES : 0
    argument.layout_id = identifier
    var code = holdfast_direct_ioctl(handle, holdfast_ioc_layout_return, &argument)
    while code == -EINTR { code = holdfast_direct_ioctl(handle, holdfast_ioc_layout_return, &argument) }
    return code
  }

  private func postpone(_ index: Int) {
    let file = files + index
    guard file.pointee.served.load(ordering: .relaxed) < Self.worthwhile, holdfast_is_eager() == 0 else { return }
    let pause = min(max(file.pointee.grantNanoseconds * Self.pauseFactor, Self.shortestPause), Self.longestPause)
    file.pointee.retryAt.store(holdfast_now() + pause, ordering: .relaxed)
  }

  /// An event of the watcher's or the mender's.
  func wake(_ event: Int32) {
    var one: UInt64 = 1
    _ = holdfast_raw_write(event, &one, 8)
  }
}

extension DirectLayout {
  /// Whether every byte of the file has a block.
  fileprivate var isWhole: Bool {
    let mask = ExtentTable.blockBytes - 1
    return fileSize > 0 && space.extents.storable(0, (fileSize + mask) & ~mask).defect == nil
  }
}
