/// How a descriptor comes to be served.
///
/// The program's open(2) is made as it is. When it opened a regular file of a Holdfast mount for writing, a layout is
/// taken on that handle, the keeper opens a handle of its own while it stands and takes the layout there, and the
/// program's is opened once more under the same number. Both are direct_io for good then (decision 9), so whatever
/// goes through the mount is what lies on the image, and the program's handle is in nobody's way. For reading only,
/// the handle stays what it is: the keeper takes a read layout.
///
/// When anything of it cannot be had, the program has the descriptor it would have had without us; but beside another
/// program's layout that one has no shared mappings, so a program that asks for one is served after all (`serveLate`).

import CHoldfast
import CPreload
import Synchronization

/// The last device looked at that is no Holdfast mount, plus 1.
private let otherDevice = Atomic<UInt64>(0)

/// The program has taken a lock (fcntl(2)) by a descriptor of a FUSE file that we did not serve then: of which, is not known.
let hasForeignLocks = Atomic<Bool>(false)

/// Called with what the real call returned; returns that.
func serve(_ descriptor: Int32, _ flags: Int32, openedAfter serial: UInt64) -> Int32 {
  guard descriptor >= 0 else { return descriptor }
  // Whatever had the number before was closed by a call we do not see.
  if descriptorWord(descriptor).bits != 0 { dropDescriptor(descriptor) }
  guard holdfast_is_enabled() != 0, flags & holdfast_open_unserved == 0, Int(descriptor) < Registry.maximumDescriptors
  else { return descriptor }
  var status = holdfast_descriptor_status()
  guard holdfast_look(descriptor, &status) == 0, status.is_regular != 0,
    otherDevice.load(ordering: .relaxed) != status.device + 1
  else { return descriptor }
  let code = holdfast_errno()
  if isOnHoldfast(descriptor) {
    let why = admit(descriptor, flags, status, serial)
    if why != 0 { explain(status.inode, why) }
  } else {
    otherDevice.store(status.device + 1, ordering: .relaxed)
  }
  holdfast_set_errno(code)
  return descriptor
}

/// RECALL_STATUS changes nothing, and is ENOTTY elsewhere.
private func isOnHoldfast(_ descriptor: Int32) -> Bool {
  guard holdfast_is_fuse(descriptor) != 0 else { return false }
  var status = holdfast_recall_status()
  status.version = UInt32(HOLDFAST_ABI_VERSION)
  return holdfast_direct_ioctl(descriptor, holdfast_ioc_recall_status, &status) >= 0
}

/// The kernel has refused a shared mapping of a file (ENODEV): its handle, which real calls serve, was opened beside
/// another program's layout, and is direct_io for good. Now or never it is served. False: never.
func serveLate(_ descriptor: Int32) -> Bool {
  let code = holdfast_errno()
  defer { holdfast_set_errno(code) }
  let flags = holdfast_raw_fcntl(descriptor, F_GETFL, 0)
  var status = holdfast_descriptor_status()
  guard holdfast_is_enabled() != 0, flags >= 0, flags & O_ACCMODE == O_RDWR, flags & holdfast_open_unserved == 0,
    Int(descriptor) < Registry.maximumDescriptors, holdfast_look(descriptor, &status) == 0, status.is_regular != 0,
    isOnHoldfast(descriptor), let registry = makeRegistry()
  else { return false }
  let serial = registry.pointee.serial.load(ordering: .acquiring)
  return admit(descriptor, flags, status, serial, isLate: true) == 0
}

/// 0, or the errno that says why real calls serve it.
private func admit(
  _ descriptor: Int32, _ flags: Int32, _ status: holdfast_descriptor_status, _ serial: UInt64, isLate: Bool = false
) -> Int32 {
  guard let registry = makeRegistry() else { return ENOMEM }
  let isWriting = flags & O_ACCMODE != O_RDONLY
  if isWriting, holdfast_has_file_size_limit() != 0 { return EFBIG }
  var question = Question(.find)
  question.descriptor = descriptor
  question.device = status.device
  question.inode = status.inode
  question.isWriting = isWriting
  question.serial = serial
  question.isLate = isLate
  var patience = MillisecondPatience.forLayouts
  while true {
    let code = tryToAdmit(registry, question, flags, status, isLate)
    guard code == EAGAIN, !patience.isOver else { return code }
    patience.wait()
  }
}

/// EAGAIN: somebody recalls the file now.
private func tryToAdmit(
  _ registry: UnsafeMutablePointer<Registry>, _ question: Question, _ flags: Int32,
  _ status: holdfast_descriptor_status, _ isLate: Bool
) -> Int32 {
  guard var answer = registry.ask(question) else { return ECANCELED }
  if answer.code == ENOENT {
    answer = isLate ? registry.makeLate(question) : registry.make(question, flags)
  }
  guard answer.code == 0 else { return answer.code }
  guard registry.openImage(answer) else {
    registry.dropReference(answer.file)
    return EMFILE
  }
  if registry.install(question.descriptor, answer.file, flags), isLate { registry.adopt(answer.file, status) }
  return 0
}

extension UnsafeMutablePointer where Pointee == Registry {
  /// A file not yet served, just opened.
  fileprivate func make(_ asked: Question, _ flags: Int32) -> Answer {
    var question = asked
    question.kind = .make
    guard question.isWriting else { return ask(question) ?? Answer(code: ECANCELED) }
    // Closing the first handle would drop locks the program has on the file by a descriptor we do not know.
    guard !hasForeignLocks.load(ordering: .relaxed) else { return Answer(code: ENOLCK) }
    var layout = FirstLayout()
    let code = layout.take(question.descriptor)
    guard code == 0 else { return Answer(code: code) }
    let answer = ask(question) ?? Answer(code: ECANCELED)
    let second = answer.code == 0 ? openAgain(question.descriptor, flags) : -1
    // Not left to the close, which the daemon hears of later: a mapping through the mount might come before that.
    layout.giveBack(question.descriptor)
    guard answer.code == 0 else { return answer }
    let failure = second < 0 ? -second : takeOver(question.descriptor, second, flags)
    guard failure == 0 else {
      dropReference(answer.file)
      return Answer(code: failure)
    }
    return answer
  }

  /// A file not yet served, whose handle is direct_io: it stays what it is.
  fileprivate func makeLate(_ asked: Question) -> Answer {
    var question = asked
    question.kind = .make
    var layout = FirstLayout()
    var answer = Answer(code: layout.take(question.descriptor))
    if answer.code == 0 { answer = ask(question) ?? Answer(code: ECANCELED) }
    layout.giveBack(question.descriptor)
    if answer.code == EBUSY {
      // Somebody uses the page cache: so shall we.
      question.isCached = true
      answer = ask(question) ?? Answer(code: ECANCELED)
    }
    return answer
  }

  /// Every other number of the program's that is this file's and was left to real calls: they would not see what is in a
  /// mapping's pages, nor what they write be in it. 64 Ki questions of the kernel, some milliseconds, once.
  fileprivate func adopt(_ index: Int, _ status: holdfast_descriptor_status) {
    for number in 0..<Int32(Registry.maximumDescriptors) where descriptorWord(number).bits == 0 {
      let flags = holdfast_raw_fcntl(number, F_GETFL, 0)
      var other = holdfast_descriptor_status()
      guard flags >= 0, flags & holdfast_open_unserved == 0, holdfast_look(number, &other) == 0,
        other.inode == status.inode, other.device == status.device
      else { continue }
      files[index].references.wrappingAdd(1, ordering: .acquiringAndReleasing)
      // It may have been closed meanwhile.
      if install(number, index, flags), !descriptorWord(number).names(number, files + index) { dropDescriptor(number) }
    }
  }
}

/// The same file, as it is opened while a layout stands: direct_io.
private func openAgain(_ descriptor: Int32, _ flags: Int32) -> Int32 {
  var path = DescriptorPath(thread: holdfast_gettid(), descriptor: descriptor)
  return path.open(flags & ~holdfast_open_once)
}

/// `second` under the number of the first. 0 or an errno.
private func takeOver(_ descriptor: Int32, _ second: Int32, _ flags: Int32) -> Int32 {
  var code = holdfast_raw_dup3(second, descriptor, flags & O_CLOEXEC)
  while code == -EINTR || code == -EBUSY { code = holdfast_raw_dup3(second, descriptor, flags & O_CLOEXEC) }
  holdfast_direct_close(second)
  return code < 0 ? -code : 0
}

/// On the program's first handle, only to make the next ones direct_io: its extents are not looked at.
private struct FirstLayout {
  private var identifier: UInt64 = 0

  mutating func take(_ descriptor: Int32) -> Int32 {
    // Not on the stack, which may be a signal's.
    let size = MemoryLayout<holdfast_layout>.size
    let result = holdfast_direct_map(0, size, PROT_READ | PROT_WRITE, holdfast_map_reserve, -1, 0)
    guard result >= 0, let memory = UnsafeMutableRawPointer(bitPattern: UInt(result)) else { return ENOMEM }
    defer { _ = holdfast_direct_unmap(UInt(result), size) }
    let layout = memory.assumingMemoryBound(to: holdfast_layout.self)
    layout.pointee.version = UInt32(HOLDFAST_ABI_VERSION)
    layout.pointee.flags = HOLDFAST_LAYOUT_WRITE | HOLDFAST_LAYOUT_BREAKABLE | HOLDFAST_LAYOUT_AS_IS
    var code = holdfast_direct_ioctl(descriptor, holdfast_ioc_layout_get, memory)
    while code == -EINTR { code = holdfast_direct_ioctl(descriptor, holdfast_ioc_layout_get, memory) }
    guard code >= 0 else { return -code }
    identifier = layout.pointee.layout_id
    return 0
  }

  mutating func giveBack(_ descriptor: Int32) {
    guard identifier != 0 else { return }
    var argument = holdfast_layout_return()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    argument.layout_id = identifier
    while holdfast_direct_ioctl(descriptor, holdfast_ioc_layout_return, &argument) == -EINTR {}
    identifier = 0
  }
}

extension UnsafeMutablePointer where Pointee == Registry {
  /// The image in the program's table, once for all its files. False: no number left.
  func openImage(_ answer: Answer) -> Bool {
    guard answer.image >= 0 else { return true }
    let volume = volumes + files[answer.file].volume
    var path = DescriptorPath(thread: pointee.keeper.load(ordering: .relaxed), descriptor: answer.image)
    let image = path.open(O_CLOEXEC | (volume.pointee.isWritable ? O_RDWR : O_RDONLY))
    guard image >= 0 else { return false }
    let number = ownNumber(for: image)
    guard number >= 0 else { return false }
    let (isFirst, _) = volume.pointee.descriptor.compareExchange(
      expected: 0, desired: number + 1, ordering: .acquiringAndReleasing)
    if !isFirst { closeOwn(number) }
    return true
  }

  /// Moves a descriptor out of the program's way.
  private func ownNumber(for descriptor: Int32) -> Int32 {
    var first = Int32(Registry.ownDescriptors)
    var number = -EINVAL
    // The limit may be lower: half of it then, and half of that.
    while number < 0, first > 16 {
      number = holdfast_raw_fcntl(descriptor, F_DUPFD_CLOEXEC, Int(first))
      first /= 2
    }
    holdfast_direct_close(descriptor)
    guard number >= 0 else { return number }
    markOwn(number)
    return number
  }

  private func markOwn(_ number: Int32) {
    words[Int(number)].store(DescriptorWord.own, ordering: .releasing)
    OwnNumbers.add(number)
  }

  private func closeOwn(_ number: Int32) {
    words[Int(number)].store(0, ordering: .releasing)
    OwnNumbers.remove(number)
    holdfast_direct_close(number)
  }

  /// False: another thread was first, as may be with a number that was open already; the reference is given back.
  fileprivate func install(_ descriptor: Int32, _ index: Int, _ flags: Int32) -> Bool {
    let access = flags & O_ACCMODE
    var bits: UInt64 = access == O_WRONLY ? 0 : DescriptorWord.canRead
    if access != O_RDONLY { bits |= DescriptorWord.canWrite }
    if flags & O_APPEND != 0 { bits |= DescriptorWord.appends }
    if flags & holdfast_open_syncs != 0 { bits |= DescriptorWord.syncs }
    let word = DescriptorWord(
      file: index, generation: files[index].generation.load(ordering: .relaxed),
      description: pointee.descriptions.wrappingAdd(1, ordering: .relaxed).newValue, flags: bits)
    let isFirst = words[Int(descriptor)].compareExchange(
      expected: 0, desired: word.bits, ordering: .acquiringAndReleasing
    ).exchanged
    if !isFirst { dropReference(index) }
    return isFirst
  }

  /// Another layout for a file that had one; false when it is not to be had now.
  func takeAgain(_ word: DescriptorWord, _ descriptor: Int32) -> Bool {
    guard isOurs else { return false }
    let code = holdfast_errno()
    defer { holdfast_set_errno(code) }
    var question = Question(.grant)
    question.file = word.file
    guard let answer = ask(question), answer.code == 0 else { return false }
    return openImage(answer)
  }

  /// Of a file that is mapped through the mount: a descriptor that sees what is in the mapping's pages. It is closed
  /// with the file's last, and keeps the number it got if the program has locks on the file: closing it would drop
  /// them.
  func cachedDescriptor(
    of file: UnsafeMutablePointer<ServedFile>, _ descriptor: Int32, _ word: DescriptorWord
  ) -> Int32? {
    let there = file.pointee.cachedDescriptor.load(ordering: .acquiring)
    if there > 0 { return there - 1 }
    guard isOurs else { return nil }
    var path = DescriptorPath(thread: holdfast_gettid(), descriptor: descriptor)
    var cached = path.open(O_CLOEXEC | (file.pointee.isWriting ? O_RDWR : O_RDONLY))
    guard cached >= 0, Int(cached) < Registry.maximumDescriptors else { return nil }
    if file.pointee.isLocked.load(ordering: .relaxed) == 0, !hasForeignLocks.load(ordering: .relaxed) {
      cached = ownNumber(for: cached)
      guard cached >= 0 else { return nil }
    } else {
      markOwn(cached)
    }
    let (isFirst, other) = file.pointee.cachedDescriptor.compareExchange(
      expected: 0, desired: cached + 1, ordering: .acquiringAndReleasing)
    // Both stay open, for the same reason.
    return isFirst ? cached : other - 1
  }

  /// The last one ends the file's layout.
  func dropReference(_ index: Int) {
    let file = files + index
    let (_, left) = file.pointee.references.wrappingSubtract(1, ordering: .acquiringAndReleasing)
    guard left == 0 else { return }
    let cached = file.pointee.cachedDescriptor.exchange(0, ordering: .acquiringAndReleasing) - 1
    if cached >= 0 { closeOwn(cached) }
    var question = Question(.detach)
    question.file = index
    _ = ask(question)
  }
}

/// The number is no longer that file's.
func dropDescriptor(_ descriptor: Int32) {
  guard let registry, registry.isOurs else { return }
  let word = DescriptorWord(registry.words[Int(descriptor)].exchange(0, ordering: .acquiringAndReleasing))
  guard word.bits != 0, !word.has(DescriptorWord.own) else { return }
  guard registry.files[word.file].generation.load(ordering: .relaxed) & 0xffff == word.generation else { return }
  registry.dropReference(word.file)
}

/// HOLDFAST_DIRECT_VERBOSE=1: why a file is served by real calls.
private func explain(_ inode: UInt64, _ code: Int32) {
  guard holdfast_is_verbose() != 0 else { return }
  holdfast_explain(inode, code)
}
