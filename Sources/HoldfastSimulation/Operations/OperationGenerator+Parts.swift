/// The parts of an operation, drawn: places, handles, offsets, lengths.

extension OperationGenerator {
  mutating func tag() -> Int {
    nextTag += 1
    return nextTag
  }

  mutating func mode() -> Int {
    // Where all writers are root, set-id bits only stand there.
    if !profile.isMounted, random.oneIn(6) { return random.pick([0o4755, 0o2755, 0o2744, 0o6711]) }
    return random.pick([0o600, 0o644, 0o640, 0o755, 0o700])
  }

  mutating func access() -> Access {
    var access: Access = random.oneIn(5) ? [] : .write
    if access.contains(.write) {
      if random.oneIn(5) { access.insert(.append) } else if random.oneIn(8) { access.insert(.truncate) }
    }
    if profile.isMounted, random.oneIn(6) { access.insert(.direct) }
    if profile.isMounted, profile.seals, random.oneIn(3) { access.insert(.nonblocking) }
    return access
  }

  mutating func directory(_ model: ModelFilesystem) -> Int {
    if random.oneIn(3) { return 0 }
    let slot = random.below(ModelFilesystem.directorySlots)
    return model.directory(slot) == nil ? 0 : slot
  }

  mutating func anyPlace(_ model: ModelFilesystem) -> Place {
    Place(directory(model), random.oneIn(200) ? Names.tooLong : random.below(profile.names))
  }

  mutating func newPlace(_ model: ModelFilesystem) -> Place {
    for _ in 0..<3 {
      let at = anyPlace(model)
      if model.lookup(at) == .missing { return at }
    }
    return anyPlace(model)
  }

  mutating func existing(_ model: ModelFilesystem) -> Place { place(model, nil) }
  mutating func file(_ model: ModelFilesystem) -> Place { place(model, .file) }

  /// A name in use, of this kind if one turns up soon.
  mutating func place(_ model: ModelFilesystem, _ kind: ModelNode.Kind?) -> Place {
    for _ in 0..<8 {
      let at = anyPlace(model)
      if case .found(let id) = model.lookup(at), kind == nil || model.node(id)?.kind == kind { return at }
    }
    return anyPlace(model)
  }

  mutating func freeHandle(_ model: ModelFilesystem) -> Int {
    let start = random.below(ModelFilesystem.handleSlots)
    for step in 0..<ModelFilesystem.handleSlots {
      let slot = (start + step) % ModelFilesystem.handleSlots
      if model.handle(slot) == nil { return slot }
    }
    return start
  }

  mutating func openHandle(_ model: ModelFilesystem) -> Int { handleWhere(model) { _ in true } ?? 0 }

  mutating func handleWhere(_ model: ModelFilesystem, _ condition: (ModelHandle) -> Bool) -> Int? {
    let start = random.below(ModelFilesystem.handleSlots)
    for step in 0..<ModelFilesystem.handleSlots {
      let slot = (start + step) % ModelFilesystem.handleSlots
      if let handle = model.handle(slot), condition(handle) { return slot }
    }
    return nil
  }

  /// Closes often when handles run out.
  mutating func closingHandle(_ model: ModelFilesystem) -> Int {
    let free = model.handles.count { $0 == nil }
    return free > 4 && random.oneIn(2) ? random.below(ModelFilesystem.handleSlots) : openHandle(model)
  }

  mutating func sealedHandle(_ model: ModelFilesystem) -> Int? {
    handleWhere(model) { model.isSealed($0.node) }
  }

  func room(_ size: Int) -> Int { max(0, profile.maximumFileBytes - size) }

  mutating func length() -> Int {
    switch random.below(8) {
    case 0: 1 + random.below(16)
    case 1, 2: 1 + random.below(5000)
    case 3: 4096 * (1 + random.below(8))
    case 4: 512 * (1 + random.below(20))
    case 5: 1 + random.below(70_000)
    case 6: random.oneIn(30) ? random.below(profile.maximumFileBytes) : 4096 * (1 + random.below(40))
    default: 1 + random.below(20_000)
    }
  }

  mutating func aligned(_ offset: Int) -> Int {
    switch random.below(6) {
    case 0, 1: offset & ~4095
    case 2: offset & ~511
    case 3: max(0, (offset & ~4095) + random.between(-3, 3))
    default: offset
    }
  }

  /// A range that starts within `size` bytes.
  mutating func range(within size: Int, direct: Bool) -> (offset: Int, length: Int) {
    let offset = min(aligned(random.below(size + 1)), profile.maximumFileBytes)
    let length = min(length(), profile.maximumFileBytes - offset)
    return direct ? (offset & ~4095, (length + 4095) & ~4095) : (offset, length)
  }

  /// A range within, across or behind the end of a file of `size` bytes.
  mutating func range(near size: Int, direct: Bool) -> (offset: Int, length: Int) {
    var offset: Int
    switch random.below(6) {
    case 0: offset = size
    case 1: offset = aligned(min(size + random.below(40_000), profile.maximumFileBytes))
    case 2: offset = max(0, size - random.below(6000))
    default: offset = aligned(random.below(size + 1))
    }
    if direct { offset &= ~4095 }
    offset = min(offset, profile.maximumFileBytes)
    let length = min(length(), profile.maximumFileBytes - offset)
    return direct
      ? (offset, min((length + 4095) & ~4095, (profile.maximumFileBytes - offset) & ~4095)) : (offset, length)
  }

  mutating func newSize(_ size: Int) -> Int {
    switch random.below(6) {
    case 0: 0
    case 1: size
    case 2: min(size + random.below(50_000), profile.maximumFileBytes)
    default: aligned(random.below(size + 1))
    }
  }
}
