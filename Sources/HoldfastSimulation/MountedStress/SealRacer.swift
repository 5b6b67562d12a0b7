/// One thread of the races: takes or breaks something, over and over.

import CHoldfast
import CPlatform
import Glibc
import HoldfastBase
import HoldfastClient

final class SealRacer: @unchecked Sendable {
  private static let fileBlocks = 24
  /// Seconds a recalled holder has. As short as they get.
  private static let grace: UInt32 = 1
  /// What an operation may answer here; others are wrong whatever the others did.
  private static let fair: ErrnoSet = [
    ETXTBSY, EAGAIN, EINTR, ENOENT, EEXIST, EINVAL, ENOSPC, ESTALE, EOPNOTSUPP, ESRCH,
  ]

  private let arena: SealArena
  private var random: SeededRandom
  private let page: [UInt8]

  init(_ arena: SealArena, seed: UInt64, job: Int) {
    self.arena = arena
    random = SeededRandom(seed: seed ^ 0x5ea1, part: job)
    page = Array(repeating: UInt8(job + 1), count: 4096)
  }

  func run(until end: Int) {
    while Monotonic.milliseconds() < end, arena.failure == nil {
      do throws(ClientError) {
        try step()
      } catch {
        // Names come and go under everybody's hands.
        if !Self.fair.contains(error.errno) { arena.fail(error.explanation) }
      }
    }
  }

  private func step() throws(ClientError) {
    let path = arena.path(random.below(SealArena.files))
    switch random.below(16) {
    case 0...4: try hold(path)
    case 5, 6: try holdInProcess(path)
    case 7: breakInProcess(path)
    case 8 where random.oneIn(10): try revoke(path)
    default: judge(breakSomething(path))
    }
  }

  // MARK: Holding

  private func request() -> SealRequest {
    var request = SealRequest()
    request.name = arena.uniqueName()
    request.kind = random.oneIn(2) ? .hard : .breakable(graceSeconds: Self.grace)
    request.preparation = random.pick([.none, .fill, .asIs, .asIs])
    if random.oneIn(2) {
      let start = random.below(Self.fileBlocks)
      request.range = (UInt64(start) * 4096, UInt64(1 + random.below(Self.fileBlocks - start)) * 4096)
    }
    if random.oneIn(3) { request.lifetime = .named }
    return request
  }

  private static func blocks(_ request: SealRequest) -> Range<UInt64>? {
    request.range.map { $0.offset / 4096..<($0.offset + $0.length) / 4096 }
  }

  /// What was granted is from now on looked at. Nil when the map was seen changing: then somebody else let go of nothing, or
  /// the request is gone already.
  private func watch(
    _ file: borrowing OpenFile, _ request: SealRequest, grantedAt generation: UInt64?
  ) throws(ClientError) -> WatchedGrant? {
    arena.count(\.granted)
    let watcher = try OpenFile("/proc/self/fd/\(file.descriptor)")
    guard let map = try ObservedMap(of: watcher) else { return nil }
    // By now it may have been fenced or revoked: nobody promised that map.
    guard try SealObserver.stands(request.name, of: watcher) else { return nil }
    if let generation, map.generation < generation {
      arena.fail("granted at generation \(generation), and the map is of \(map.generation)")
    }
    let blocks = Self.blocks(request)
    let grant = WatchedGrant(
      watcher, name: request.name, blocks: blocks,
      map: ObservedMap(generation: map.generation, extents: map.within(blocks)))
    arena.add(grant)
    return grant
  }

  /// Takes, holds for a moment, overwrites what it holds, and lets go: when it likes, when asked, or not in time.
  private func hold(_ path: String) throws(ClientError) {
    let file = try OpenFile(path, access: .readWrite)
    let request = request()
    let state = try file.seal(request)
    guard let grant = try watch(file, request, grantedAt: state.generation) else { return }
    defer { arena.remove(grant) }
    if random.oneIn(3) { _ = pwrite(file.descriptor, page, 512, off_t(grant.blocks?.lowerBound ?? 0) * 4096) }
    let isStubborn = random.oneIn(30)
    var asked = pollfd(fd: file.descriptor, events: Int16(POLLPRI), revents: 0)
    if isStubborn { usleep(1_300_000) } else { poll(&asked, 1, Int32(random.below(30))) }
    if random.oneIn(6), request.lifetime == .handle {
      // Its own operation ends its lease, or is refused.
      grant.letGo()
      judge(ftruncate(file.descriptor, off_t(random.below(Self.fileBlocks) * 4096)))
    }
    arena.remove(grant)
    // By closing now and then: but names stay.
    if request.lifetime == .handle, random.oneIn(2) { return }
    do throws(ClientError) {
      try file.unseal(name: request.name, lifetime: request.lifetime, range: request.range)
    } catch {
      // It was fenced or revoked, or its own operation ended it.
      guard [ENODATA, EPERM, ESTALE].contains(error.errno) else { throw error }
      if isStubborn { arena.count(\.fenced) }
    }
  }

  /// A process takes it on a handle of its own, or for itself, and is killed.
  private func holdInProcess(_ path: String) throws(ClientError) {
    let file = try OpenFile(path)
    var request = request()
    request.lifetime = .handle
    var argument = holdfast_seal()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    withUnsafeMutableBytes(of: &argument.name) { $0.copyBytes(from: request.name.utf8) }
    if request.preparation == .fill { argument.flags |= HOLDFAST_SEAL_FILL }
    if request.preparation == .asIs { argument.flags |= HOLDFAST_SEAL_AS_IS }
    if case .breakable = request.kind {
      argument.flags |= HOLDFAST_SEAL_BREAKABLE
      argument.grace_seconds = Self.grace
    }
    argument.offset = request.range?.offset ?? 0
    argument.length = request.range?.length ?? 0
    var code: Int32 = 0
    let child = holdfast_start_holder(
      "/proc/self/fd/\(file.descriptor)", UInt(request.range == nil ? holdfast_ioc_seal : holdfast_ioc_pin),
      &argument, &code)
    guard child > 0 else { return }
    defer {
      holdfast_end_process(child)
      arena.count(\.killed)
    }
    guard code == 0 else { return judge(code) }
    guard let grant = try watch(file, request, grantedAt: nil) else { return }
    usleep(UInt32(random.below(random.oneIn(20) ? 1_300_000 : 20_000)))
    arena.remove(grant)
  }

  private func revoke(_ path: String) throws(ClientError) {
    let file = try OpenFile(path)
    let count = try file.revoke(Revocation(.file))
    arena.count(\.revoked, Int(count))
  }

  // MARK: Breaking

  /// Whether it did something; refusals that may be are counted, others fail the run.
  private func judge(_ result: Int32) {
    if result == 0 { return arena.count(\.broken) }
    let code = result < 0 ? errno : result
    if code == EINTR { arena.count(\.interrupted) } else { arena.count(\.refused) }
    if !Self.fair.contains(code) { arena.fail("an operation answered \(errnoName(code))") }
  }

  private func breakSomething(_ path: String) -> Int32 {
    let block = random.below(Self.fileBlocks)
    let length = 4096 * (1 + random.below(4))
    let other = arena.path(random.below(SealArena.files))
    switch random.below(12) {
    case 0 where random.oneIn(4): return unlink(path)
    case 1 where random.oneIn(4): return replace(path)
    case 2 where random.oneIn(4): return rename(other, path)
    case 3: return truncate(path, off_t(block * 4096 + random.below(2)))
    default: break
    }
    // Who does not wait is told to try again; who waits is interrupted now and then.
    let flags = O_RDWR | O_CREAT | O_CLOEXEC | (random.oneIn(2) ? O_NONBLOCK : 0) | (random.oneIn(4) ? O_APPEND : 0)
    let file = holdfast_open(path, flags, 0o644)
    guard file >= 0 else { return -1 }
    defer { close(file) }
    let kind = random.below(6)
    if flags & O_NONBLOCK != 0 || !random.oneIn(4) { return perform(kind, file, block, length) }
    let call = WaitingCall { [self] in
      let result = perform(kind, file, block, length)
      return result == 0 ? .done() : .failed(result < 0 ? errno : result)
    }
    usleep(UInt32(random.below(20_000)))
    return call.end(interrupting: true).errno
  }

  private func perform(_ kind: Int, _ file: Int32, _ block: Int, _ length: Int) -> Int32 {
    let offset = Int64(block * 4096)
    switch kind {
    case 0: return ftruncate(file, off_t(block * 4096))
    case 1:
      return holdfast_fallocate(file, Int32(AllocationMode.punchHole | AllocationMode.keepSize), offset, Int64(length))
    case 2: return holdfast_fallocate(file, 0, offset, Int64(length))
    case 3: return holdfast_fallocate(file, Int32(AllocationMode.zeroRange), offset, Int64(length))
    default: return pwrite(file, page, page.count, off_t(offset)) == page.count ? 0 : -1
    }
  }

  /// A new file in the place of what may be sealed.
  private func replace(_ path: String) -> Int32 {
    let new = "\(path)-\(arena.uniqueName())"
    let file = holdfast_open(new, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
    guard file >= 0 else { return -1 }
    defer { close(file) }
    for block in 0..<random.below(Self.fileBlocks) { _ = pwrite(file, page, page.count, off_t(block * 8192)) }
    return rename(new, path)
  }

  /// A process breaks, waits, and is killed.
  private func breakInProcess(_ path: String) {
    let child = holdfast_start_truncation(path, Int64(random.below(Self.fileBlocks) * 4096))
    guard child > 0 else { return }
    usleep(UInt32(random.below(20_000)))
    holdfast_end_process(child)
    arena.count(\.killed)
  }
}
