/// Operations on names, contents and attributes, as system calls.

import CPlatform
import Glibc

extension MountedTarget {
  // MARK: Names

  func performName(_ operation: Operation, _ model: ModelFilesystem) -> Outcome {
    switch operation {
    case .create(let at, let slot, let mode):
      return open(slot, path(at, model), O_CREAT | O_EXCL | O_RDWR, mode_t(mode))
    case .open(let at, let slot, let access):
      let outcome = open(slot, path(at, model), Self.flags(access), 0)
      return outcome.errno == 0 ? .done() : outcome
    case .close(let slot):
      closeDescriptor(slot)
      return .done()
    case .makeDirectory(let at, _):
      let path = path(at, model)
      let made = withPath(path) { mkdir($0, 0o755) }
      return made == 0 ? answer(inodeOf: path) : answer(made)
    case .symlink(let at, let length, let tag):
      let path = path(at, model)
      let made = withPath(Names.symlinkTarget(length: length, tag: tag)) { target in
        withPath(path) { symlink(target, $0) }
      }
      return made == 0 ? answer(inodeOf: path) : answer(made)
    case .removeDirectory(let at): return answer(withPath(path(at, model)) { rmdir($0) })
    case .unlink(let at): return answer(withPath(path(at, model)) { unlink($0) })
    case .rename(let from, let to, let flags):
      return answer(
        withPath(path(from, model)) { from in withPath(path(to, model)) { holdfast_rename(from, $0, UInt32(flags)) } })
    case .link(let from, let to):
      return answer(withPath(path(from, model)) { from in withPath(path(to, model)) { link(from, $0) } })
    case .readSymlink(let at):
      let outcome = answer(
        withPath(path(at, model)) {
          readlink($0, results.buffer.baseAddress!.assumingMemoryBound(to: CChar.self), 4096)
        })
      results.count = Int(outcome.value)
      return outcome
    case .list(let slot): return answer(list(path(ofDirectory: slot, model)))
    case .status(let at):
      var found = stat()
      let outcome = answer(withPath(path(at, model)) { lstat($0, &found) })
      results.inode = UInt64(found.st_ino)
      results.node = ModelNode(observing: found)
      return outcome
    case .truncateName(let at, let size): return answer(withPath(path(at, model)) { truncate($0, size) })
    default: return .failed(ENOSYS)
    }
  }

  /// The inode number of what was just made.
  private func answer(inodeOf path: [UInt8]) -> Outcome {
    guard let status = status(path) else { return .failed(errno) }
    return .done(UInt64(status.st_ino))
  }

  private static func flags(_ access: Access) -> Int32 {
    var flags = access.contains(.write) ? O_RDWR : O_RDONLY
    if access.contains(.append) { flags |= O_APPEND }
    if access.contains(.truncate) { flags |= O_TRUNC }
    if access.contains(.direct) { flags |= O_DIRECT }
    if access.contains(.nonblocking) { flags |= O_NONBLOCK }
    return flags
  }

  /// The value is the inode number.
  private func open(_ slot: Int, _ path: [UInt8], _ flags: Int32, _ mode: mode_t) -> Outcome {
    let file = withPath(path) { holdfast_open($0, flags | O_CLOEXEC, mode) }
    guard file >= 0 else { return .failed(errno) }
    var status = stat()
    guard fstat(file, &status) == 0 else {
      let code = errno
      Glibc.close(file)
      return .failed(code)
    }
    descriptors[slot] = file
    return .done(UInt64(status.st_ino))
  }

  /// Entries of a directory into `results`; 0, or -1 with errno.
  func list(_ path: [UInt8]) -> Int32 {
    results.entries.removeAll(keepingCapacity: true)
    results.strangers.removeAll()
    guard let directory = withPath(path, { opendir($0) }) else { return -1 }
    defer { closedir(directory) }
    errno = 0
    while let entry = readdir(directory) {
      withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
        let name = UnsafeRawBufferPointer(rebasing: bytes.prefix { $0 != 0 })
        if name.elementsEqual([0x2e]) || name.elementsEqual([0x2e, 0x2e]) { return }
        guard let number = Names.number(name), results.entries[number] == nil else {
          results.strangers.append("'\(String(decoding: name, as: UTF8.self))' (unknown or twice)")
          return
        }
        results.entries[number] = UInt64(entry.pointee.d_ino)
      }
      errno = 0
    }
    return errno == 0 ? 0 : -1
  }

  // MARK: Contents

  func performContent(_ operation: Operation) -> Outcome {
    let buffer = results.buffer.baseAddress!
    switch operation {
    case .read(let slot, let offset, let length):
      // pread(2) may be short where pages come from different places: until nothing more comes.
      while results.count < length {
        let count = pread(descriptors[slot], buffer + results.count, length - results.count, offset + results.count)
        if count < 0 { return .failed(errno) }
        if count == 0 { break }
        results.count += count
      }
      return .done(UInt64(results.count))
    case .write(let slot, let offset, let length, _): return answer(pwrite(descriptors[slot], buffer, length, offset))
    case .append(let slot, let length, _): return answer(write(descriptors[slot], buffer, length))
    case .truncate(let slot, let size): return answer(ftruncate(descriptors[slot], size))
    case .allocate(let slot, let mode, let offset, let length):
      return answer(holdfast_fallocate(descriptors[slot], Int32(mode), Int64(offset), Int64(length)))
    case .copy(let slot, let offset, let toSlot, let toOffset, let length):
      return answer(
        Int(
          holdfast_copy_file_range(
            descriptors[slot], Int64(offset), descriptors[toSlot], Int64(toOffset), length)))
    case .seek(let slot, let offset, let hole):
      return answer(
        Int(
          hole
            ? holdfast_seek_hole(descriptors[slot], Int64(offset))
            : holdfast_seek_data(descriptors[slot], Int64(offset))))
    case .sync(let slot, let dataOnly):
      return answer(dataOnly ? fdatasync(descriptors[slot]) : fsync(descriptors[slot]))
    case .mapRead(let slot, let offset, let length): return mapRead(descriptors[slot], offset, length)
    case .mapWrite(let slot, let offset, let length, _): return mapWrite(descriptors[slot], offset, length)
    default: return .failed(ENOSYS)
    }
  }

  private func mapRead(_ file: Int32, _ offset: Int, _ length: Int) -> Outcome {
    var status = stat()
    guard fstat(file, &status) == 0 else { return .failed(errno) }
    // Pages behind the end give SIGBUS; the last one ends in zeros.
    let count = min(length, Int(status.st_size) - offset)
    guard count > 0 else { return .done() }
    let start = offset & ~4095
    guard let map = mmap(nil, offset + count - start, PROT_READ, MAP_SHARED, file, start), map != MAP_FAILED else {
      return .failed(errno)
    }
    memcpy(results.buffer.baseAddress!, map + (offset - start), count)
    munmap(map, offset + count - start)
    results.count = count
    return .done(UInt64(count))
  }

  private func mapWrite(_ file: Int32, _ offset: Int, _ length: Int) -> Outcome {
    let start = offset & ~4095
    let bytes = offset + length - start
    guard let map = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, start), map != MAP_FAILED else {
      return .failed(errno)
    }
    memcpy(map + (offset - start), results.buffer.baseAddress!, length)
    let synced = msync(map, bytes, MS_SYNC)
    let code = errno
    munmap(map, bytes)
    return synced == 0 ? .done(UInt64(length)) : .failed(code)
  }

  // MARK: Attributes

  func performAttribute(_ operation: Operation) -> Outcome {
    switch operation {
    case .setMode(let slot, let mode): return answer(fchmod(descriptors[slot], mode_t(mode)))
    case .setXattr(let slot, let name, let length, let tag, let mode):
      let value = ModelFilesystem.xattrValue(length: length, tag: tag)
      return answer(withPath(Names.xattr(name)) { fsetxattr(descriptors[slot], $0, value, length, Int32(mode)) })
    case .getXattr(let slot, let name):
      let outcome = answer(
        withPath(Names.xattr(name)) {
          fgetxattr(descriptors[slot], $0, results.buffer.baseAddress, results.buffer.count)
        })
      results.count = Int(outcome.value)
      return outcome
    case .removeXattr(let slot, let name):
      return answer(withPath(Names.xattr(name)) { fremovexattr(descriptors[slot], $0) })
    case .listXattrs(let slot):
      let outcome = answer(
        flistxattr(
          descriptors[slot], results.buffer.baseAddress!.assumingMemoryBound(to: CChar.self), results.buffer.count))
      results.count = Int(outcome.value)
      return outcome
    default: return .failed(ENOSYS)
    }
  }
}
