/// libc's names for opening, duplicating and closing. C has the variadic ones (CPreload/preload.c).

import CPreload
import Synchronization

private func serial() -> UInt64 { registry?.pointee.serial.load(ordering: .acquiring) ?? 0 }

@c(holdfast_preload_open) public func openServed(_ path: UnsafePointer<CChar>?, _ flags: Int32, _ mode: UInt32) -> Int32
{
  let before = serial()
  return serve(holdfast_real_open(path, flags, mode), flags, openedAfter: before)
}

@c(holdfast_preload_openat) public func openServedAt(
  _ directory: Int32, _ path: UnsafePointer<CChar>?, _ flags: Int32, _ mode: UInt32
) -> Int32 {
  let before = serial()
  return serve(holdfast_real_openat(directory, path, flags, mode), flags, openedAfter: before)
}

@c(creat) public func creat(_ path: UnsafePointer<CChar>?, _ mode: UInt32) -> Int32 {
  openServed(path, O_CREAT | O_WRONLY | O_TRUNC, mode)
}
@c(creat64) public func creat64(_ path: UnsafePointer<CChar>?, _ mode: UInt32) -> Int32 {
  openServed(path, O_CREAT | O_WRONLY | O_TRUNC, mode)
}

/// _FORTIFY_SOURCE's open without a mode: one that needs it ends the program.
@c(__open_2) public func openChecked(_ path: UnsafePointer<CChar>?, _ flags: Int32) -> Int32 {
  if holdfast_open_takes_mode(flags) != 0 { holdfast_chk_fail() }
  return openServed(path, flags, 0)
}
@c(__open64_2) public func open64Checked(_ path: UnsafePointer<CChar>?, _ flags: Int32) -> Int32 {
  openChecked(path, flags)
}
@c(__openat_2) public func openatChecked(_ directory: Int32, _ path: UnsafePointer<CChar>?, _ flags: Int32) -> Int32 {
  if holdfast_open_takes_mode(flags) != 0 { holdfast_chk_fail() }
  return openServedAt(directory, path, flags, 0)
}
@c(__openat64_2) public func openat64Checked(
  _ directory: Int32, _ path: UnsafePointer<CChar>?, _ flags: Int32
) -> Int32 { openatChecked(directory, path, flags) }

// MARK: Closing

@c(close) public func close(_ fd: Int32) -> Int32 {
  let word = descriptorWord(fd)
  if word.bits != 0, registry?.isOurs == true {
    // A program that closes all numbers does not mean ours.
    if word.has(DescriptorWord.own) { return Int32(answered(-Int(EBADF))) }
    dropDescriptor(fd)
  }
  return holdfast_next().pointee.close(fd)
}

@c(fclose) public func fclose(_ stream: UnsafeMutablePointer<FILE>?) -> Int32 {
  if let registry, let stream, registry.isOurs {
    let descriptor = fileno(stream)
    let word = descriptorWord(descriptor)
    if word.bits != 0, !word.has(DescriptorWord.own) { dropDescriptor(descriptor) }
  }
  return holdfast_next().pointee.fclose(stream)
}

@c(close_range) public func closeRange(_ first: UInt32, _ last: UInt32, _ flags: Int32) -> Int32 {
  // Marking closes nothing; in a table of its own this thread's numbers are no longer those of the others.
  guard let registry, first <= last, flags & (holdfast_close_range_marks | holdfast_close_range_unshares) == 0,
    registry.isOurs
  else { return holdfast_next().pointee.close_range(first, last, flags) }
  var start = first
  for number in Int(first)...max(Int(first), min(Int(last), Registry.maximumDescriptors - 1)) {
    guard number < Registry.maximumDescriptors else { break }
    let word = DescriptorWord(registry.words[number].load(ordering: .acquiring))
    if word.bits == 0 { continue }
    if !word.has(DescriptorWord.own) {
      dropDescriptor(Int32(number))
      continue
    }
    if UInt32(number) > start {
      let code = holdfast_next().pointee.close_range(start, UInt32(number) - 1, flags)
      if code != 0 { return code }
    }
    start = UInt32(number) + 1
  }
  return start > last ? 0 : holdfast_next().pointee.close_range(start, last, flags)
}

@c(closefrom) public func closeFrom(_ first: Int32) { _ = closeRange(UInt32(max(first, 0)), .max, 0) }

// MARK: Duplicating

/// `copy` is a new number for what `descriptor` is.
private func duplicated(_ descriptor: Int32, _ copy: Int32) -> Int32 {
  guard copy >= 0, copy != descriptor, let registry, registry.isOurs else { return copy }
  if descriptorWord(copy).bits != 0 { dropDescriptor(copy) }
  let word = descriptorWord(descriptor)
  guard word.bits != 0, !word.has(DescriptorWord.own), Int(copy) < Registry.maximumDescriptors else { return copy }
  registry.files[word.file].references.wrappingAdd(1, ordering: .acquiringAndReleasing)
  registry.words[Int(copy)].store(word.bits, ordering: .releasing)
  return copy
}

/// Before `number` becomes something else.
private func makeRoom(_ number: Int32, for descriptor: Int32) {
  let word = descriptorWord(number)
  guard word.bits != 0, number != descriptor, let registry, registry.isOurs else { return }
  guard word.has(DescriptorWord.own) else { return dropDescriptor(number) }
  // One of ours: from now on real calls serve everything.
  _ = registry.ask(Question(.retire))
  OwnNumbers.remove(number)
  registry.words[Int(number)].store(0, ordering: .releasing)
}

@c(dup) public func dup(_ fd: Int32) -> Int32 { duplicated(fd, holdfast_next().pointee.dup(fd)) }

@c(dup2) public func dup2(_ fd: Int32, _ number: Int32) -> Int32 {
  guard holdfast_raw_fcntl(fd, F_GETFD, 0) >= 0 else { return holdfast_next().pointee.dup2(fd, number) }
  makeRoom(number, for: fd)
  return duplicated(fd, holdfast_next().pointee.dup2(fd, number))
}

@c(dup3) public func dup3(_ fd: Int32, _ number: Int32, _ flags: Int32) -> Int32 {
  guard holdfast_raw_fcntl(fd, F_GETFD, 0) >= 0 else { return holdfast_next().pointee.dup3(fd, number, flags) }
  makeRoom(number, for: fd)
  return duplicated(fd, holdfast_next().pointee.dup3(fd, number, flags))
}

@c(holdfast_preload_fcntl) public func fcntlServed(
  _ fd: Int32, _ command: Int32, _ argument: UnsafeMutableRawPointer?
) -> Int32 {
  let result = holdfast_real_fcntl(fd, command, argument)
  guard result >= 0, holdfast_is_enabled() != 0 else { return result }
  switch command {
  case F_DUPFD, F_DUPFD_CLOEXEC: return duplicated(fd, result)
  case F_SETFL: changeFlags(fd, Int32(truncatingIfNeeded: Int(bitPattern: argument)))
  case F_SETLK, F_SETLKW: noteLock(fd)
  default: break
  }
  return result
}

/// fcntl(2)'s lock by another name, which libc takes without asking us.
@c(lockf) public func lockf(_ fd: Int32, _ command: Int32, _ length: Int64) -> Int32 {
  let result = holdfast_next().pointee.lockf(fd, command, length)
  if result == 0, command == F_LOCK || command == F_TLOCK, holdfast_is_enabled() != 0 { noteLock(fd) }
  return result
}
@c(lockf64) public func lockf64(_ fd: Int32, _ command: Int32, _ length: Int64) -> Int32 { lockf(fd, command, length) }

/// The process has a lock on the file now, which closing any of its numbers would drop.
private func noteLock(_ fd: Int32) {
  let word = descriptorWord(fd)
  if word.bits != 0, !word.has(DescriptorWord.own), let registry {
    registry.files[word.file].isLocked.store(1, ordering: .relaxed)
  } else if holdfast_is_fuse(fd) != 0 {
    hasForeignLocks.store(true, ordering: .relaxed)
  }
}

/// O_APPEND belongs to the open file description: all its numbers have it.
private func changeFlags(_ fd: Int32, _ flags: Int32) {
  let changed = descriptorWord(fd)
  guard changed.bits != 0, !changed.has(DescriptorWord.own), let registry, registry.isOurs else { return }
  for number in 0..<Registry.maximumDescriptors {
    let word = DescriptorWord(registry.words[number].load(ordering: .acquiring))
    guard word.bits != 0, word.file == changed.file, word.description == changed.description else { continue }
    let bits = flags & O_APPEND != 0 ? word.bits | DescriptorWord.appends : word.bits & ~DescriptorWord.appends
    registry.words[number].store(bits, ordering: .releasing)
  }
}
