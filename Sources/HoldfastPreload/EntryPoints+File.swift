/// libc's names for mapping, syncing and changing the size; and what is done at a fork and at the end.

import CPreload
import Synchronization

// MARK: Mapping

@c(mmap) public func mmap(
  _ address: UnsafeMutableRawPointer?, _ length: Int, _ protection: Int32, _ flags: Int32, _ fd: Int32, _ offset: Int64
) -> UnsafeMutableRawPointer? { mapServed(address, length, protection, flags, fd, offset) }

@c(mmap64) public func mmap64(
  _ address: UnsafeMutableRawPointer?, _ length: Int, _ protection: Int32, _ flags: Int32, _ fd: Int32, _ offset: Int64
) -> UnsafeMutableRawPointer? { mapServed(address, length, protection, flags, fd, offset) }

private func mapServed(
  _ address: UnsafeMutableRawPointer?, _ length: Int, _ protection: Int32, _ flags: Int32, _ fd: Int32, _ offset: Int64
) -> UnsafeMutableRawPointer? {
  let start = tryToMap(address, length, protection, flags, fd, offset)
  guard start == holdfast_map_failed, holdfast_errno() == ENODEV, fd >= 0, holdfast_is_shared_mapping(flags) != 0,
    descriptorWord(fd).bits == 0, serveLate(fd)
  else { return start }
  return tryToMap(address, length, protection, flags, fd, offset)
}

private func tryToMap(
  _ address: UnsafeMutableRawPointer?, _ length: Int, _ protection: Int32, _ flags: Int32, _ fd: Int32, _ offset: Int64
) -> UnsafeMutableRawPointer? {
  func really(_ fd: Int32) -> UnsafeMutableRawPointer? {
    holdfast_next().pointee.mmap(address, length, protection, flags, fd, offset)
  }
  guard let registry, fd >= 0, holdfast_is_shared_mapping(flags) != 0 else { return really(fd) }
  var word = descriptorWord(fd)
  var mayMap = word.has(DescriptorWord.canRead) && word.has(DescriptorWord.canWrite)
  // A handle for reading only, opened while the program's own layout for writing stood, has no shared mappings either.
  if !mayMap, protection & PROT_WRITE == 0, registry.isOurs, let writing = registry.writingFile(fd) {
    let start = really(fd)
    guard start == holdfast_map_failed, holdfast_errno() == ENODEV else { return start }
    word = writing
    mayMap = true
  }
  guard word.bits != 0, registry.isOurs, length > 0, mayMap else {
    if protection & PROT_WRITE != 0 { stopReaders(registry, fd) }
    return really(fd)
  }
  let file = registry.files + word.file
  let state = file.pointee.word.load(ordering: .acquiring)
  guard state & ServedFile.plain == 0, word.names(fd, file) else { return really(fd) }
  if state & ServedFile.cached == 0 {
    var question = Question(.map)
    question.file = word.file
    question.address = UInt(bitPattern: address)
    question.length = length
    question.protection = protection
    question.flags = flags
    question.offset = offset
    question.isWriting = protection & PROT_WRITE != 0
    var asked = registry.ask(question, again: EBUSY, .forHandles)
    if asked?.code == EINPROGRESS { asked = registry.ask(question, again: EINPROGRESS, .forLayouts) }
    guard let answer = asked else { return really(fd) }
    switch answer.code {
    case 0: return UnsafeMutableRawPointer(bitPattern: answer.address)
    case ENODATA, EBUSY, EINPROGRESS: break
    default:
      holdfast_set_errno(answer.code)
      return holdfast_map_failed
    }
    question.kind = .convert
    guard let answer = registry.ask(question, again: EAGAIN, .forLayouts), answer.code == 0 else { return really(fd) }
  }
  return really(registry.cachedDescriptor(of: file, fd, word) ?? fd)
}

extension UnsafeMutablePointer where Pointee == Registry {
  /// The file of a descriptor that is for reading only, as it is open for writing elsewhere in this process.
  fileprivate func writingFile(_ fd: Int32) -> DescriptorWord? {
    var status = holdfast_descriptor_status()
    guard holdfast_raw_fcntl(fd, F_GETFL, 0) & O_ACCMODE == O_RDONLY,
      holdfast_look(fd, &status) == 0
    else { return nil }
    for index in 0..<Registry.maximumFiles {
      let file = files + index
      guard file.pointee.isUsed, file.pointee.isWriting, file.pointee.inode == status.inode,
        file.pointee.device == status.device
      else { continue }
      let generation = file.pointee.generation.load(ordering: .relaxed)
      return DescriptorWord(file: index, generation: generation, description: 0, flags: DescriptorWord.canRead)
    }
    return nil
  }
}

/// The file is about to be stored into through pages that reads of the image do not see.
private func stopReaders(_ registry: UnsafeMutablePointer<Registry>, _ fd: Int32) {
  guard registry.pointee.readers.load(ordering: .relaxed) > 0 else { return }
  var status = holdfast_descriptor_status()
  guard holdfast_look(fd, &status) == 0 else { return }
  for index in 0..<Registry.maximumFiles {
    let file = registry.files + index
    guard file.pointee.isUsed, !file.pointee.isWriting, file.pointee.inode == status.inode,
      file.pointee.device == status.device
    else { continue }
    file.pointee.word.bitwiseOr(ServedFile.plain, ordering: .acquiringAndReleasing)
  }
}

@c(munmap) public func munmap(_ address: UnsafeMutableRawPointer?, _ length: Int) -> Int32 {
  let result = holdfast_next().pointee.munmap(address, length)
  if result == 0, let registry, registry.pointee.orphans.load(ordering: .relaxed) > 0, registry.isOurs {
    _ = registry.ask(Question(.reap))
  }
  return result
}

/// What grows would grow into the image's next blocks. 0, or why it must not.
@c(holdfast_preload_before_remap) public func beforeRemap(_ address: UnsafeMutableRawPointer?, _ length: Int) -> Int32 {
  guard let registry, registry.isOurs else { return 0 }
  var question = Question(.convertAll)
  question.address = UInt(bitPattern: address)
  question.length = max(length, 1)
  if let answer = registry.ask(question, again: EAGAIN, .forHandles) { return answer.code }
  return (0..<Registry.maximumFiles).contains { registry.files[$0].isMapped } ? EAGAIN : 0
}

// MARK: Syncing

@c(fsync) public func fsync(_ fd: Int32) -> Int32 {
  let code = syncImage(fd)
  return code == 0 ? holdfast_next().pointee.fsync(fd) : Int32(answered(-Int(code)))
}

@c(fdatasync) public func fdatasync(_ fd: Int32) -> Int32 {
  let code = syncImage(fd)
  return code == 0 ? holdfast_next().pointee.fdatasync(fd) : Int32(answered(-Int(code)))
}

/// What was stored into the image's page cache, by us or through mappings, goes to the device. 0 or an errno.
private func syncImage(_ fd: Int32) -> Int32 {
  let word = descriptorWord(fd)
  guard word.bits != 0, !word.has(DescriptorWord.own), let registry else { return 0 }
  let file = registry.files + word.file
  guard file.pointee.isUnsynced.exchange(0, ordering: .acquiringAndReleasing) != 0 || file.pointee.isMapped else {
    return 0
  }
  let image = registry.volumes[file.pointee.volume].descriptor.load(ordering: .acquiring) - 1
  let code = holdfast_direct_datasync(image)
  if code != 0 { file.pointee.isUnsynced.store(1, ordering: .relaxed) }
  return -code
}

// MARK: Sizes

private func changesMap(_ fd: Int32) {
  let word = descriptorWord(fd)
  if word.has(DescriptorWord.canWrite) { releaseLayout(word) }
}

@c(ftruncate) public func ftruncate(_ fd: Int32, _ size: Int64) -> Int32 {
  changesMap(fd)
  return holdfast_next().pointee.ftruncate(fd, size)
}
@c(ftruncate64) public func ftruncate64(_ fd: Int32, _ size: Int64) -> Int32 {
  changesMap(fd)
  return holdfast_next().pointee.ftruncate(fd, size)
}
@c(fallocate) public func fallocate(_ fd: Int32, _ mode: Int32, _ offset: Int64, _ length: Int64) -> Int32 {
  changesMap(fd)
  return holdfast_next().pointee.fallocate(fd, mode, offset, length)
}
@c(fallocate64) public func fallocate64(_ fd: Int32, _ mode: Int32, _ offset: Int64, _ length: Int64) -> Int32 {
  changesMap(fd)
  return holdfast_next().pointee.fallocate(fd, mode, offset, length)
}
@c(posix_fallocate) public func posixFallocate(_ fd: Int32, _ offset: Int64, _ length: Int64) -> Int32 {
  changesMap(fd)
  return holdfast_next().pointee.posix_fallocate(fd, offset, length)
}
@c(posix_fallocate64) public func posixFallocate64(_ fd: Int32, _ offset: Int64, _ length: Int64) -> Int32 {
  changesMap(fd)
  return holdfast_next().pointee.posix_fallocate(fd, offset, length)
}

// MARK: Forks, and the end

/// A child has our mappings but none of what watches over them: let them go through the mount first.
@c(holdfast_preload_before_fork) public func beforeFork() {
  guard let registry, registry.isOurs else { return }
  for index in 0..<Registry.maximumFiles where registry.files[index].isMapped {
    _ = registry.ask(Question(.convertAll), again: EAGAIN, .forHandles)
    return
  }
}

@c(holdfast_preload_in_child) public func inChild() {
  OwnNumbers.closeAll()
  holdfast_thread_transfers()!.pointee = 0
  holdfast_thread_is_asking()!.pointee = 0
}

/// Layouts end with the process; this is for the times of what was stored.
@c(holdfast_preload_at_exit) public func atExit() {
  if let registry, registry.isOurs { _ = registry.ask(Question(.retire)) }
}
