/// The watcher: waits for recalls on every handle that holds a layout (POLLPRI), whatever the program does meanwhile.
/// A recalled layout is returned as soon as the transfers under way have ended; real calls serve from then on.
/// Mappings stay where they are and the layout is asked for again at once (Mappings.swift).

import CPreload
import Synchronization

/// While something is to be tried again.
private let retryMilliseconds: Int32 = 2
/// While it was in vain: somebody else's layout, or a daemon that is gone, may stay that way.
private let longestRetryMilliseconds: Int32 = 128

func watchRecalls(_ registry: UnsafeMutablePointer<Registry>) {
  let room = Registry.maximumFiles + 1
  let polls = UnsafeMutablePointer<pollfd>.allocate(capacity: room)
  let indices = UnsafeMutablePointer<Int>.allocate(capacity: room)
  polls.initialize(repeating: pollfd(), count: room)
  indices.initialize(repeating: 0, count: room)
  while true {
    registry.keeperLock.lock()
    var count = 1
    var isPending = false
    polls[0] = pollfd(fd: registry.pointee.wakeEvent, events: Int16(POLLIN), revents: 0)
    for index in 0..<Registry.maximumFiles where registry.files[index].isUsed {
      let file = registry.files + index
      isPending = isPending || file.pointee.isRecalled
      guard file.pointee.layout != nil, !file.pointee.isRecalled else { continue }
      polls[count] = pollfd(fd: file.pointee.handle, events: Int16(POLLPRI), revents: 0)
      indices[count] = index
      count += 1
    }
    registry.keeperLock.unlock()

    _ = holdfast_raw_poll(polls, UInt32(count), isPending ? retryMilliseconds : -1)
    if polls[0].revents != 0 {
      var number: UInt64 = 0
      _ = holdfast_raw_read(polls[0].fd, &number, 8)
    }

    registry.keeperLock.lock()
    for position in 1..<max(count, 1) where polls[position].revents != 0 {
      let file = registry.files + indices[position]
      // It may be another file's by now: then its layout is returned for nothing, and taken again.
      if file.pointee.isUsed, file.pointee.layout != nil { file.pointee.isRecalled = true }
    }
    for index in 0..<Registry.maximumFiles where registry.files[index].isUsed {
      let file = registry.files + index
      if file.pointee.isRecalled, registry.stop(index) { registry.giveBack(index) }
    }
    registry.keeperLock.unlock()
  }
}

/// The mender: files whose layout went while they were mapped. It may have to wait in the daemon, which the watcher
/// must not.
func mendMappings(_ registry: UnsafeMutablePointer<Registry>) {
  var pause = retryMilliseconds
  while true {
    registry.keeperLock.lock()
    var isPending = false
    for index in 0..<Registry.maximumFiles where registry.files[index].isUsed {
      if registry.files[index].mappedLayout != nil, !registry.files[index].isBeingGranted {
        registry.keepMappings(index)
      }
      isPending = isPending || (registry.files[index].isUsed && registry.files[index].mappedLayout != nil)
    }
    registry.keeperLock.unlock()
    var event = pollfd(fd: registry.pointee.mendEvent, events: Int16(POLLIN), revents: 0)
    _ = holdfast_raw_poll(&event, 1, isPending ? pause : -1)
    pause = min(pause * 2, longestRetryMilliseconds)
    guard event.revents != 0 else { continue }
    var number: UInt64 = 0
    _ = holdfast_raw_read(event.fd, &number, 8)
    pause = retryMilliseconds
  }
}
