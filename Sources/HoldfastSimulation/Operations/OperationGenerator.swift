/// Draws operations from a seed. It looks at the model, so that most operations hit something that exists and
/// sizes and offsets cluster where bugs do: block edges, ends of files, ends of earlier ranges.

struct GeneratorProfile: Sendable {
  /// Largest file.
  var maximumFileBytes = 512 << 10
  /// Names per directory; few, so that they collide.
  var names = 14
  var maximumXattrBytes = 3000
  var seals = true
  /// Seals of several users (only where operations can be made in their name).
  var users = 3
  /// Operations that only a mounted filesystem knows.
  var isMounted = false
  /// Stores and loads through mappings; not where the filesystem may vanish under them.
  var mapsMemory = true
  var takesBreakables = true
  /// Operations between crashes, on average; 0 never.
  var crashEvery = 0
  /// Operations between stretches of damaged metadata, on average; 0 never.
  var faultEvery = 0
  /// Operations between remounts, on average; 0 never.
  var remountEvery = 0
  var shiftsRanges = true
  /// Of the image, which may come to twice as much; 0: it is not resized.
  var imageMebibytes = 0
  /// Bytes preallocated before everything else, so that the volume fills up.
  var ballastBytes = 0
}

struct OperationGenerator {
  enum Kind: CaseIterable {
    case create, open, close, makeDirectory, removeDirectory, unlink, rename, link, symlink, readSymlink, list, status
    case read, write, append, truncate, truncateName, allocate, copy, seek, relocate, sync, syncDirectory, syncAll,
      mapRead,
      mapWrite
    case setMode, setXattr, getXattr, removeXattr, listXattrs
    case seal, unseal, sealNamed, unsealNamed, sealProcess, endProcess, holderExit, sealTimed, fence, revoke, become
    case housekeep, resize

    func weight(_ profile: GeneratorProfile) -> Int {
      switch self {
      case .read, .write: 100
      case .append, .allocate, .truncate, .copy: 40
      case .create, .open, .close, .unlink, .rename: 35
      case .seek, .status, .link, .sync, .setXattr: 15
      case .makeDirectory, .removeDirectory, .symlink, .readSymlink, .list, .setMode, .getXattr, .removeXattr,
        .truncateName, .listXattrs:
        8
      case .syncDirectory, .syncAll: 3
      case .housekeep: profile.isMounted ? 0 : 10
      case .resize: profile.imageMebibytes > 0 ? 2 : 0
      case .relocate: profile.isMounted ? 0 : 25
      case .mapRead, .mapWrite: profile.isMounted && profile.mapsMemory ? 40 : 0
      case .seal: profile.seals ? 30 : 0
      case .sealNamed: profile.seals ? 20 : 0
      // Where the clock is real, a recall is waited for.
      case .fence: profile.seals ? (profile.isMounted ? 1 : 4) : 0
      case .revoke: profile.seals ? 2 : 0
      case .become: profile.seals && !profile.isMounted ? 8 : 0
      case .unseal, .unsealNamed: profile.seals ? 20 : 0
      // Its second is waited for.
      case .sealTimed: profile.seals ? 1 : 0
      case .sealProcess, .endProcess, .holderExit: profile.seals ? (profile.isMounted ? 2 : 6) : 0
      }
    }
  }

  let profile: GeneratorProfile
  var random: SeededRandom
  private let kinds: [Kind]
  private let limits: [Int]
  var nextTag = 1
  /// What comes first; the last one next.
  private var opening: [Operation] = []

  init(profile: GeneratorProfile, seed: UInt64, part: Int) {
    self.profile = profile
    random = SeededRandom(seed: seed, part: part)
    kinds = Kind.allCases.filter { $0.weight(profile) > 0 }
    var total = 0
    limits = kinds.map { kind in
      total += kind.weight(profile)
      return total
    }
    opening = Self.ballast(profile).reversed()
  }

  /// No volume is smaller.
  private let smallestMebibytes = 16

  /// Names of ballast begin here: no other operation takes them.
  private static let ballastName = 100

  private static func ballast(_ profile: GeneratorProfile) -> [Operation] {
    guard profile.ballastBytes > 0 else { return [] }
    let files = stride(from: 0, to: profile.ballastBytes, by: profile.maximumFileBytes).enumerated()
    return files.flatMap { index, done -> [Operation] in
      let length = min(profile.ballastBytes - done, profile.maximumFileBytes)
      return [
        .create(Place(0, ballastName + index), handle: 0, mode: 0o600),
        .allocate(handle: 0, mode: AllocationMode.keepSize, offset: 0, length: length), .close(handle: 0),
      ]
    } + [.syncAll]
  }

  mutating func next(_ model: ModelFilesystem) -> Operation {
    if let first = opening.popLast() { return first }
    if profile.crashEvery > 0, random.oneIn(profile.crashEvery) {
      if random.oneIn(3) {
        return .deviceError(
          kind: random.below(3), after: random.below(random.pick([2, 10, 60])), seed: Int(random.next() >> 32))
      }
      let events = random.oneIn(4) ? 0 : random.below(random.pick([4, 30, 200]))
      return .crash(events: events, seed: Int(random.next() >> 32))
    }
    if profile.faultEvery > 0, random.oneIn(profile.faultEvery) {
      return .mediaFault(
        kind: random.below(MediaFault.allCases.count), choice: Int(random.next() >> 32),
        length: random.between(10, random.pick([30, 200])))
    }
    if profile.remountEvery > 0, random.oneIn(profile.remountEvery) { return .remount }
    let at = random.below(limits.last!)
    let kind = kinds[limits.firstIndex { at < $0 }!]
    return waiting(whole(make(kind, model), model), model)
  }

  /// The kernel may send a write with an unaligned head as two requests, each judged for itself. Where the first may end a
  /// lease or begin a recall before the second is refused, writes are made that are one.
  private func whole(_ operation: Operation, _ model: ModelFilesystem) -> Operation {
    guard profile.isMounted, let slot = operation.handleSlot, let handle = model.handle(slot),
      model.seals[handle.node]?.contains(where: \.isBreakable) == true
    else { return operation }
    let size = model.node(handle.node).map { Int($0.size) } ?? 0
    let block = Int(TruthTable.blockBytes)
    func cut(_ offset: Int, _ length: Int) -> Int {
      let head = (handle.access.contains(.append) ? size : offset) % block
      return head == 0 ? length : min(length, block - head)
    }
    switch operation {
    case .write(let slot, let offset, let length, let tag):
      return .write(handle: slot, offset: offset, length: cut(offset, length), tag: tag)
    case .append(let slot, let length, let tag): return .append(handle: slot, length: cut(size, length), tag: tag)
    default: return operation
    }
  }

  /// Most of those that meet breakable requests wait for them.
  private mutating func waiting(_ operation: Operation, _ model: ModelFilesystem) -> Operation {
    guard profile.seals, !operation.concernsSeals, let id = model.subject(of: operation),
      model.seals[id]?.contains(where: \.isBreakable) == true, !random.oneIn(3)
    else { return operation }
    // A fence takes a second of a real clock.
    let patience = random.pick([Patience.released, .released, .interrupted, .fenced])
    return .waiting(operation, patience == .fenced && profile.isMounted && !random.oneIn(10) ? .released : patience)
  }

  private mutating func make(_ kind: Kind, _ model: ModelFilesystem) -> Operation {
    switch kind {
    case .create: return .create(newPlace(model), handle: freeHandle(model), mode: mode())
    case .open: return .open(file(model), handle: freeHandle(model), access())
    case .close: return .close(handle: closingHandle(model))
    case .makeDirectory:
      guard let slot = model.directories.firstIndex(of: nil) else { return makeRoom(model) }
      return .makeDirectory(newPlace(model), slot: slot)
    case .removeDirectory: return random.oneIn(3) ? .removeDirectory(place(model, .directory)) : makeRoom(model)
    case .unlink: return .unlink(random.oneIn(20) ? anyPlace(model) : file(model))
    case .rename:
      return .rename(existing(model), to: random.oneIn(2) ? existing(model) : newPlace(model), flags: random.below(3))
    case .link: return .link(existing(model), to: newPlace(model))
    case .symlink: return .symlink(newPlace(model), length: random.pick([1, 20, 59, 60, 200, 4095]), tag: tag())
    case .readSymlink: return .readSymlink(place(model, .symlink))
    case .list: return .list(directory: directory(model))
    case .status: return .status(existing(model))
    case .housekeep: return .housekeep
    case .resize:
      return .resize(mebibytes: random.between(smallestMebibytes, 2 * profile.imageMebibytes))
    case .syncDirectory: return .syncDirectory(directory(model))
    case .syncAll: return .syncAll
    case .setMode: return .setMode(handle: openHandle(model), mode: mode())
    case .setXattr:
      let length = random.oneIn(5) ? random.below(profile.maximumXattrBytes + 1) : random.below(60)
      return .setXattr(
        handle: openHandle(model), name: random.below(6), length: length, tag: tag(),
        mode: random.oneIn(3) ? random.below(3) : 0)
    case .getXattr: return .getXattr(handle: openHandle(model), name: random.below(6))
    case .removeXattr: return .removeXattr(handle: openHandle(model), name: random.below(6))
    case .listXattrs: return .listXattrs(handle: openHandle(model))
    case .seal, .unseal, .sealNamed, .unsealNamed, .sealProcess, .sealTimed, .endProcess, .holderExit, .fence, .revoke,
      .become:
      return makeSeal(kind, model)
    default: return makeContent(kind, model)
    }
  }

  private mutating func makeContent(_ kind: Kind, _ model: ModelFilesystem) -> Operation {
    // Where requests stand is where refusals and recalls are.
    let slot = (profile.seals && random.oneIn(5) ? sealedHandle(model) : nil) ?? openHandle(model)
    let handle = model.handle(slot)
    let size = handle.flatMap { model.node($0.node) }.map { Int($0.size) } ?? 0
    let isDirect = handle?.access.contains(.direct) ?? false
    switch kind {
    case .read, .mapRead:
      let (offset, length) = range(within: size + 5000, direct: isDirect && kind == .read)
      return kind == .read
        ? .read(handle: slot, offset: offset, length: length) : .mapRead(handle: slot, offset: offset, length: length)
    case .write:
      let (offset, length) = range(near: size, direct: isDirect)
      return handle?.access.contains(.append) == true
        ? .append(handle: slot, length: min(length, room(size)), tag: tag())
        : .write(handle: slot, offset: offset, length: length, tag: tag())
    case .append:
      let appending = handleWhere(model) { $0.access.contains(.append) } ?? slot
      return .append(
        handle: appending, length: min(1 + random.below(random.pick([100, 5000, 70000])), room(size)), tag: tag())
    case .mapWrite:
      let (offset, length) = range(within: size, direct: false)
      return .mapWrite(handle: slot, offset: offset, length: min(length, max(0, size - offset)), tag: tag())
    case .truncate: return .truncate(handle: slot, size: newSize(size))
    case .truncateName: return .truncateName(file(model), size: newSize(size))
    case .allocate:
      let (offset, length) =
        random.oneIn(3) ? range(near: size, direct: false) : range(within: size + 9000, direct: false)
      var mode = random.pick([0, 1, 3, 3, 0x10, 0x11])
      if profile.shiftsRanges && random.oneIn(8) { mode = random.pick([0x08, 0x20]) }
      let isAligned = mode == 0x08 || mode == 0x20
      return .allocate(
        handle: slot, mode: mode, offset: isAligned ? offset & ~4095 : offset,
        length: isAligned ? length & ~4095 : length)
    case .copy:
      let (offset, length) = range(within: size, direct: false)
      let target = openHandle(model)
      let (toOffset, _) = range(
        near: model.handle(target).flatMap { model.node($0.node) }.map { Int($0.size) } ?? 0, direct: false)
      return .copy(
        handle: slot, offset: offset, to: target, toOffset: toOffset,
        length: min(length, profile.maximumFileBytes - toOffset))
    case .relocate:
      let (offset, length) = range(within: size + 9000, direct: false)
      return .relocate(handle: slot, offset: offset, length: max(length, 1), alignment: random.pick([1, 1, 2, 16]))
    case .seek: return .seek(handle: slot, offset: random.below(size + 100), hole: random.oneIn(2))
    default: return .sync(handle: slot, dataOnly: random.oneIn(2))
    }
  }
}

extension OperationGenerator {
  /// Removes the directory with the fewest names, or one of its names: else directories only ever fill.
  private mutating func makeRoom(_ model: ModelFilesystem) -> Operation {
    var fewest: (slot: Int, id: NodeID, names: [Int])?
    for (slot, id) in model.directories.enumerated() where slot > 0 {
      guard let id, let entries = model.node(id)?.entries, entries.count < fewest?.names.count ?? .max else { continue }
      fewest = (slot, id, entries.keys.sorted())
    }
    guard let (slot, id, names) = fewest else { return .removeDirectory(anyPlace(model)) }
    guard !names.isEmpty else { return .removeDirectory(model.place(of: id) ?? anyPlace(model)) }
    let at = Place(slot, random.pick(names))
    guard case .found(let child) = model.lookup(at), model.node(child)?.kind == .directory else { return .unlink(at) }
    return .removeDirectory(at)
  }
}
