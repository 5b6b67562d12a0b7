/// libc's names for reading and writing. Each tries the image and else makes the real call with the same arguments.

import CPreload
import Synchronization

// MARK: At a place

private func readAt(_ descriptor: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int, _ offset: Int64) -> Int {
  var route = Route(descriptor)
  if let file = route.file {
    if let bytes, count >= 0, offset >= 0, route.word.has(DescriptorWord.canRead),
      let result = file.read(bytes, min(count, maximumTransfer), at: offset)
    {
      route.end()
      return answered(result)
    }
    route.end()
  }
  return holdfast_next().pointee.pread(route.readable(descriptor), bytes, count, offset)
}

private func writeAt(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int, _ offset: Int64) -> Int {
  var route = Route(descriptor)
  if let file = route.file {
    if let bytes, count > 0, count <= maximumTransfer, offset >= 0, route.word.isPlainWriter {
      if !file.isStorable(count, at: offset) {
        route.giveWay()
      } else if let result = file.write(bytes, count, at: offset) {
        route.end()
        return answered(result)
      }
    }
    route.end()
  }
  return route.reallyWrite(descriptor, bytes, count, offset)
}

extension Route {
  /// The stand-in can be read, whatever the program's handle was opened for.
  fileprivate func readable(_ descriptor: Int32) -> Int32 {
    word.bits == 0 || word.has(DescriptorWord.canRead) ? self.descriptor : descriptor
  }

  /// A real pwrite(2). The descriptor that stands in for one that is mapped through the mount has neither its
  /// O_APPEND nor its O_DSYNC.
  fileprivate func reallyWrite(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int, _ offset: Int64) -> Int {
    guard self.descriptor != descriptor, word.has(DescriptorWord.appends | DescriptorWord.syncs) else {
      return holdfast_next().pointee.pwrite(self.descriptor, bytes, count, offset)
    }
    var part = iovec(iov_base: UnsafeMutableRawPointer(mutating: bytes), iov_len: count)
    return holdfast_next().pointee.pwritev2(self.descriptor, &part, 1, offset, word.writeFlags)
  }

  fileprivate func reallyWrite(
    _ descriptor: Int32, _ parts: UnsafePointer<iovec>?, parts count: Int32, _ offset: Int64
  ) -> Int {
    guard self.descriptor != descriptor, word.has(DescriptorWord.appends | DescriptorWord.syncs) else {
      return holdfast_next().pointee.pwritev(self.descriptor, parts, count, offset)
    }
    return holdfast_next().pointee.pwritev2(self.descriptor, parts, count, offset, word.writeFlags)
  }

  /// Whether write(2) is not simply the real one: on the image, or on the stand-in.
  fileprivate func goesAtOffset(_ descriptor: Int32) -> Bool {
    word.isPlainWriter || (self.descriptor != descriptor && word.has(DescriptorWord.canWrite))
  }

  /// Whether write(2) goes to the stand-in, to the end of the file: where the offset is then.
  fileprivate func appends(_ descriptor: Int32) -> Bool {
    self.descriptor != descriptor && word.has(DescriptorWord.appends)
  }
}

extension DescriptorWord {
  fileprivate var writeFlags: Int32 {
    (has(Self.appends) ? holdfast_write_appends : 0) | (has(Self.syncs) ? holdfast_write_syncs : 0)
  }
}

extension DescriptorWord {
  /// Appending and durable writes are the mount's.
  fileprivate var isPlainWriter: Bool {
    bits & (Self.canWrite | Self.appends | Self.syncs) == Self.canWrite
  }
}

private func readPartsAt(
  _ descriptor: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32, _ offset: Int64
) -> Int {
  var route = Route(descriptor)
  if let file = route.file {
    if let parts, totalBytes(parts, count) != nil, offset >= 0, route.word.has(DescriptorWord.canRead),
      let result = eachPart(
        parts, count, { part, done in file.read(part.iov_base, Int(part.iov_len), at: offset + Int64(done)) })
    {
      route.end()
      return answered(result)
    }
    route.end()
  }
  return holdfast_next().pointee.preadv(route.readable(descriptor), parts, count, offset)
}

private func writePartsAt(
  _ descriptor: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32, _ offset: Int64
) -> Int {
  var route = Route(descriptor)
  if let file = route.file {
    if let parts, let total = totalBytes(parts, count), total > 0, offset >= 0, route.word.isPlainWriter {
      if !file.isStorable(total, at: offset) {
        route.giveWay()
      } else if let result = eachPart(
        parts, count, { part, done in file.write(part.iov_base, Int(part.iov_len), at: offset + Int64(done)) })
      {
        route.end()
        return answered(result)
      }
    }
    route.end()
  }
  return route.reallyWrite(descriptor, parts, parts: count, offset)
}

@c(pread) public func pread(_ fd: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int, _ offset: Int64) -> Int {
  readAt(fd, bytes, count, offset)
}
@c(pread64) public func pread64(_ fd: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int, _ offset: Int64) -> Int {
  readAt(fd, bytes, count, offset)
}
@c(pwrite) public func pwrite(_ fd: Int32, _ bytes: UnsafeRawPointer?, _ count: Int, _ offset: Int64) -> Int {
  writeAt(fd, bytes, count, offset)
}
@c(pwrite64) public func pwrite64(_ fd: Int32, _ bytes: UnsafeRawPointer?, _ count: Int, _ offset: Int64) -> Int {
  writeAt(fd, bytes, count, offset)
}
@c(preadv) public func preadv(_ fd: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32, _ offset: Int64) -> Int {
  readPartsAt(fd, parts, count, offset)
}
@c(preadv64) public func preadv64(
  _ fd: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32, _ offset: Int64
) -> Int { readPartsAt(fd, parts, count, offset) }
@c(pwritev) public func pwritev(_ fd: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32, _ offset: Int64) -> Int {
  writePartsAt(fd, parts, count, offset)
}
@c(pwritev64) public func pwritev64(
  _ fd: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32, _ offset: Int64
) -> Int { writePartsAt(fd, parts, count, offset) }

// MARK: With flags

private func readPartsFlagged(
  _ fd: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32, _ offset: Int64, _ flags: Int32
) -> Int {
  guard descriptorWord(fd).bits != 0, offset != -1 || flags == 0 else {
    return holdfast_next().pointee.preadv2(fd, parts, count, offset, flags)
  }
  if flags != 0 {
    var route = Route(fd)
    route.end()
    return holdfast_next().pointee.preadv2(route.readable(fd), parts, count, offset, flags)
  }
  return offset == -1 ? readParts(fd, parts, count) : readPartsAt(fd, parts, count, offset)
}

private func writePartsFlagged(
  _ fd: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32, _ offset: Int64, _ flags: Int32
) -> Int {
  guard descriptorWord(fd).bits != 0, offset != -1 || flags == 0 else {
    return holdfast_next().pointee.pwritev2(fd, parts, count, offset, flags)
  }
  if flags != 0 {
    var route = Route(fd)
    route.end()
    let more = route.descriptor == fd ? 0 : route.word.writeFlags
    return holdfast_next().pointee.pwritev2(route.descriptor, parts, count, offset, flags | more)
  }
  return offset == -1 ? writeParts(fd, parts, count) : writePartsAt(fd, parts, count, offset)
}

@c(preadv2) public func preadv2(
  _ fd: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32, _ offset: Int64, _ flags: Int32
) -> Int { readPartsFlagged(fd, parts, count, offset, flags) }
@c(preadv64v2) public func preadv64v2(
  _ fd: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32, _ offset: Int64, _ flags: Int32
) -> Int { readPartsFlagged(fd, parts, count, offset, flags) }
@c(pwritev2) public func pwritev2(
  _ fd: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32, _ offset: Int64, _ flags: Int32
) -> Int { writePartsFlagged(fd, parts, count, offset, flags) }
@c(pwritev64v2) public func pwritev64v2(
  _ fd: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32, _ offset: Int64, _ flags: Int32
) -> Int { writePartsFlagged(fd, parts, count, offset, flags) }

// MARK: At the file's offset

/// Takes `count` bytes from the offset on, lets them be transferred, and puts back what was not. nil: it cannot be
/// taken so.
private func atOffset(_ descriptor: Int32, _ count: Int, _ transfer: (Int64) -> Int) -> Int? {
  let end = holdfast_raw_lseek(descriptor, Int64(count), SEEK_CUR)
  guard end >= Int64(count) else { return nil }
  let result = transfer(end - Int64(count))
  let missing = count - max(result, 0)
  if missing > 0 {
    let code = holdfast_errno()
    _ = holdfast_raw_lseek(descriptor, -Int64(missing), SEEK_CUR)
    holdfast_set_errno(code)
  }
  return result
}

private func readNext(_ descriptor: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int {
  var route = Route(descriptor)
  let isServed = route.file != nil || route.descriptor != descriptor
  if isServed, let bytes, count > 0, route.word.has(DescriptorWord.canRead) {
    let result = atOffset(descriptor, min(count, maximumTransfer)) { offset in
      if let file = route.file, let result = file.read(bytes, min(count, maximumTransfer), at: offset) {
        route.end()
        return answered(result)
      }
      route.end()
      return holdfast_next().pointee.pread(route.readable(descriptor), bytes, min(count, maximumTransfer), offset)
    }
    if let result { return result }
  }
  route.end()
  return holdfast_next().pointee.read(descriptor, bytes, count)
}

private func writeNext(_ descriptor: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
  var route = Route(descriptor)
  let isServed = route.file != nil || route.descriptor != descriptor
  if route.appends(descriptor) {
    let result = route.reallyWrite(descriptor, bytes, count, 0)
    if result > 0 { _ = holdfast_raw_lseek(descriptor, 0, SEEK_END) }
    return result
  }
  if isServed, let bytes, count > 0, count <= maximumTransfer, route.goesAtOffset(descriptor) {
    let result = atOffset(descriptor, count) { offset in
      if let file = route.file {
        if !file.isStorable(count, at: offset) {
          route.giveWay()
        } else if let result = file.write(bytes, count, at: offset) {
          route.end()
          return answered(result)
        }
        route.end()
      }
      return route.reallyWrite(descriptor, bytes, count, offset)
    }
    if let result { return result }
  }
  if route.word.has(DescriptorWord.appends) { route.giveWay() }
  route.end()
  return holdfast_next().pointee.write(descriptor, bytes, count)
}

private func readParts(_ descriptor: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32) -> Int {
  var route = Route(descriptor)
  let isServed = route.file != nil || route.descriptor != descriptor
  if isServed, let parts, let total = totalBytes(parts, count), total > 0, route.word.has(DescriptorWord.canRead) {
    let result = atOffset(descriptor, total) { offset in
      if let file = route.file,
        let result = eachPart(
          parts, count, { part, done in file.read(part.iov_base, Int(part.iov_len), at: offset + Int64(done)) })
      {
        route.end()
        return answered(result)
      }
      route.end()
      return holdfast_next().pointee.preadv(route.readable(descriptor), parts, count, offset)
    }
    if let result { return result }
  }
  route.end()
  return holdfast_next().pointee.readv(descriptor, parts, count)
}

private func writeParts(_ descriptor: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32) -> Int {
  var route = Route(descriptor)
  let isServed = route.file != nil || route.descriptor != descriptor
  if route.appends(descriptor) {
    let result = route.reallyWrite(descriptor, parts, parts: count, 0)
    if result > 0 { _ = holdfast_raw_lseek(descriptor, 0, SEEK_END) }
    return result
  }
  if isServed, let parts, let total = totalBytes(parts, count), total > 0, route.goesAtOffset(descriptor) {
    let result = atOffset(descriptor, total) { offset in
      if let file = route.file {
        if !file.isStorable(total, at: offset) {
          route.giveWay()
        } else if let result = eachPart(
          parts, count, { part, done in file.write(part.iov_base, Int(part.iov_len), at: offset + Int64(done)) })
        {
          route.end()
          return answered(result)
        }
        route.end()
      }
      return route.reallyWrite(descriptor, parts, parts: count, offset)
    }
    if let result { return result }
  }
  if route.word.has(DescriptorWord.appends) { route.giveWay() }
  route.end()
  return holdfast_next().pointee.writev(descriptor, parts, count)
}

@c(read) public func read(_ fd: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int) -> Int {
  readNext(fd, bytes, count)
}
@c(write) public func write(_ fd: Int32, _ bytes: UnsafeRawPointer?, _ count: Int) -> Int {
  writeNext(fd, bytes, count)
}
@c(readv) public func readv(_ fd: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32) -> Int {
  readParts(fd, parts, count)
}
@c(writev) public func writev(_ fd: Int32, _ parts: UnsafePointer<iovec>?, _ count: Int32) -> Int {
  writeParts(fd, parts, count)
}

// MARK: As _FORTIFY_SOURCE calls them

/// libc's answer to a buffer smaller than what is asked for: the program ends.
@c(__read_chk) public func readChecked(
  _ fd: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int, _ room: Int
) -> Int {
  if UInt(bitPattern: count) > UInt(bitPattern: room) { holdfast_chk_fail() }
  return readNext(fd, bytes, count)
}
@c(__pread_chk) public func preadChecked(
  _ fd: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int, _ offset: Int64, _ room: Int
) -> Int {
  if UInt(bitPattern: count) > UInt(bitPattern: room) { holdfast_chk_fail() }
  return readAt(fd, bytes, count, offset)
}
@c(__pread64_chk) public func pread64Checked(
  _ fd: Int32, _ bytes: UnsafeMutableRawPointer?, _ count: Int, _ offset: Int64, _ room: Int
) -> Int {
  if UInt(bitPattern: count) > UInt(bitPattern: room) { holdfast_chk_fail() }
  return readAt(fd, bytes, count, offset)
}
