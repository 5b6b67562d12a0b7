/// Reading and writing: on the image while the file's layout stands and the bytes have their blocks, else by real
/// calls.
///
/// The file's offset stays the kernel's. read(2) and write(2) take their range of it with one lseek(2), which is
/// atomic among all who share the open file description (threads, handlers, children, strangers it was sent to), and
/// put back what they did not use. What reaches behind the end is then a real pwrite(2) at the place so taken.

import CHoldfast
import CPreload
import Synchronization

/// What read(2) and write(2) transfer at most (MAX_RW_COUNT of Linux).
let maximumTransfer = 0x7fff_f000

/// Where a call goes.
struct Route {
  /// A transfer on the image has begun, to be ended by `end`; nil: real calls, on `descriptor`.
  var file: UnsafeMutablePointer<ServedFile>?
  var descriptor: Int32
  var word: DescriptorWord

  /// The registry is there when a word is not 0.
  @inline(__always)
  init(_ descriptor: Int32) {
    word = descriptorWord(descriptor)
    self.descriptor = descriptor
    file = nil
    if word.bits != 0, let registry { choose(registry) }
  }

  private mutating func choose(_ registry: UnsafeMutablePointer<Registry>) {
    guard !word.has(DescriptorWord.own) else {
      // Not a number of the program's.
      descriptor = -1
      return
    }
    let file = registry.files + word.file
    if begin(file) { return }
    let state = file.pointee.word.load(ordering: .acquiring)
    if state & ServedFile.cached != 0 {
      guard word.names(descriptor, file) else { return }
      descriptor = registry.cachedDescriptor(of: file, descriptor, word) ?? descriptor
      return
    }
    guard state & (ServedFile.plain | ServedFile.direct) == 0,
      holdfast_now() >= file.pointee.retryAt.load(ordering: .relaxed)
    else { return }
    if registry.takeAgain(word, descriptor) { _ = begin(file) }
  }

  private mutating func begin(_ file: UnsafeMutablePointer<ServedFile>) -> Bool {
    holdfast_thread_transfers()!.pointee += 1
    let state = file.pointee.word.wrappingAdd(1, ordering: .acquiringAndReleasing).newValue
    if state & ServedFile.direct != 0, state & ServedFile.plain == 0,
      word.names(descriptor, file)
    {
      self.file = file
      return true
    }
    Self.end(file)
    return false
  }

  @inline(__always)
  static func end(_ file: UnsafeMutablePointer<ServedFile>) {
    file.pointee.word.wrappingSubtract(1, ordering: .acquiringAndReleasing)
    holdfast_thread_transfers()!.pointee -= 1
  }

  @inline(__always)
  mutating func end() {
    if let file { Self.end(file) }
    file = nil
  }

  /// Ends the transfer, and the layout with it: this thread's next call changes the map.
  mutating func giveWay() {
    guard let file else { return }
    Self.end(file)
    self.file = nil
    releaseLayout(word)
  }
}

extension DescriptorWord {
  /// Whether the number is still that file's: it may be another's by now, closed and opened again by calls that we do not
  /// see.
  func names(_ descriptor: Int32, _ file: UnsafeMutablePointer<ServedFile>) -> Bool {
    var status = holdfast_descriptor_status()
    return file.pointee.generation.load(ordering: .relaxed) & 0xffff == generation
      && holdfast_look(descriptor, &status) == 0 && status.inode == file.pointee.inode
      && status.device == file.pointee.device
  }
}

/// Before a call that changes the map. Without an answer the call itself makes the daemon ask for it.
func releaseLayout(_ word: DescriptorWord) {
  guard let registry, registry.files[word.file].word.load(ordering: .relaxed) & ServedFile.direct != 0, registry.isOurs
  else { return }
  var question = Question(.release)
  question.file = word.file
  _ = registry.ask(question)
}

// MARK: On the image

extension UnsafeMutablePointer where Pointee == ServedFile {
  private var image: Int32 {
    guard let registry else { return -1 }
    return registry.volumes[pointee.volume].descriptor.load(ordering: .acquiring) - 1
  }

  /// pread(2): bytes, or minus an errno. nil: some of it is in no block, where the mount has the zeros.
  func read(_ bytes: UnsafeMutableRawPointer, _ count: Int, at offset: Int64) -> Int? {
    let layout = pointee.layout.unsafelyUnwrapped
    let size = layout.pointee.fileSize
    let start = UInt64(offset)
    guard start < size, count > 0 else { return 0 }
    let limit = min(UInt64(count), size - start)
    pointee.served.wrappingAdd(1, ordering: .relaxed)
    var done: UInt64 = 0
    while done < limit {
      let piece = layout.pointee.space.extents.piece(at: start + done, limit: limit - done)
      guard piece.state == .written || piece.state == .shared else { return nil }
      let result = holdfast_direct_pread(image, bytes + Int(done), Int(piece.length), Int64(piece.physical))
      guard result > 0 else { return done > 0 ? Int(done) : Self.failure(result) }
      done += UInt64(result)
      if UInt64(result) < piece.length { break }
    }
    return Int(done)
  }

  /// The image ends where the map says there is more; or our number of it was closed, and the mount shall do it
  /// (nil).
  private static func failure(_ result: Int64) -> Int? {
    if result == -Int64(EBADF) { return nil }
    return result < 0 ? Int(result) : -Int(EIO)
  }

  /// Whether all of it lies in blocks that may be stored into, before the end of the file.
  func isStorable(_ count: Int, at offset: Int64) -> Bool {
    let layout = pointee.layout.unsafelyUnwrapped
    let (end, overflows) = offset.addingReportingOverflow(Int64(count))
    guard !overflows, UInt64(end) <= layout.pointee.fileSize else { return false }
    return layout.pointee.space.extents.storable(UInt64(offset), UInt64(count)).defect == nil
  }

  /// pwrite(2) of what `isStorable`: bytes, or minus an errno; nil as in `read`.
  func write(_ bytes: UnsafeRawPointer, _ count: Int, at offset: Int64) -> Int? {
    let layout = pointee.layout.unsafelyUnwrapped
    pointee.isStored.store(1, ordering: .relaxed)
    pointee.isUnsynced.store(1, ordering: .relaxed)
    pointee.served.wrappingAdd(1, ordering: .relaxed)
    var done: UInt64 = 0
    while done < UInt64(count) {
      let piece = layout.pointee.space.extents.piece(at: UInt64(offset) + done, limit: UInt64(count) - done)
      let result = holdfast_direct_pwrite(image, bytes + Int(done), Int(piece.length), Int64(piece.physical))
      guard result > 0 else { return done > 0 ? Int(done) : Self.failure(result) }
      done += UInt64(result)
      if UInt64(result) < piece.length { break }
    }
    return Int(done)
  }
}

// MARK: Vectors

/// The parts of a vector one after the other, until one is short.
func eachPart(_ parts: UnsafePointer<iovec>, _ count: Int32, _ transfer: (iovec, Int) -> Int?) -> Int? {
  var done = 0
  for index in 0..<Int(count) where parts[index].iov_len > 0 {
    guard let result = transfer(parts[index], done) else { return nil }
    if result < 0 { return done > 0 ? done : result }
    done += result
    if result < parts[index].iov_len { break }
  }
  return done
}

/// Bytes of a vector, nil when the kernel would refuse it: then it shall.
func totalBytes(_ parts: UnsafePointer<iovec>?, _ count: Int32) -> Int? {
  guard let parts, count > 0, count <= 1024 else { return nil }
  var total = 0
  for index in 0..<Int(count) {
    let (sum, overflows) = total.addingReportingOverflow(Int(bitPattern: UInt(parts[index].iov_len)))
    guard !overflows, sum >= total, sum <= maximumTransfer else { return nil }
    total = sum
  }
  return total
}

/// libc's way to answer.
@inline(__always)
func answered(_ result: Int) -> Int {
  guard result < 0 else { return result }
  holdfast_set_errno(Int32(-result))
  return -1
}
