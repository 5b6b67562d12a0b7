/// What an operation must answer, given the model's state. Nil: the operation is void (it names an empty slot)
/// and is skipped. Where Linux and an engine may name several causes, all of them are in the set.

import Glibc

extension ModelFilesystem {
  /// `maps` gives the extent map of a file, asked for sealed files only.
  func expect(_ operation: Operation, map: (NodeID) -> ObservedMap) -> Expectation? {
    switch operation {
    case .create(let at, let slot, _):
      guard handles.indices.contains(slot), handles[slot] == nil else { return nil }
      return expectNewName(at)
    case .makeDirectory(let at, let slot):
      guard directories.indices.contains(slot), directories[slot] == nil else { return nil }
      return expectNewName(at)
    case .symlink(let at, let length, _): return length >= 1 && length <= 4095 ? expectNewName(at) : nil
    case .open(let at, let slot, let access): return expectOpen(at, slot, access, map)
    case .close(let slot): return handle(slot) == nil ? nil : .success
    case .removeDirectory(let at): return expectRemoveDirectory(at)
    case .unlink(let at): return expectExisting(at) { $0.kind == .directory ? [EISDIR, EPERM] : [] }
    case .rename(let from, let to, let flags): return expectRename(from, to, flags)
    case .link(let from, let to): return expectLink(from, to)
    case .readSymlink(let at): return expectExisting(at) { $0.kind == .symlink ? [] : [EINVAL] }
    case .list(let slot), .syncDirectory(let slot): return directory(slot) == nil ? nil : .success
    case .status(let at): return expectExisting(at) { _ in [] }
    case .truncateName(let at, let size):
      guard case .found(let id) = lookup(at), let node = node(id), node.kind == .file else { return nil }
      return expectTruncation(id, node, size, by: nil)
    case .setMode(let slot, _), .listXattrs(let slot), .getXattr(let slot, _), .removeXattr(let slot, _),
      .setXattr(let slot, _, _, _, _):
      guard let handle = handle(slot), let node = node(handle.node) else { return nil }
      return expectAttribute(operation, node)
    case .seal, .unseal, .unpin, .sealNamed, .unsealNamed, .sealProcess, .sealTimed, .endProcess, .holderExit, .fence,
      .revoke, .become:
      return expectSeal(operation, map)
    case .waiting: return nil
    case .syncAll, .housekeep, .resize, .remount, .crash, .deviceError, .mediaFault: return .success
    default: return expectContent(operation, map)
    }
  }

  // MARK: Namespace

  private func expectExisting(_ at: Place, _ causes: (ModelNode) -> ErrnoSet) -> Expectation? {
    switch lookup(at) {
    case .void: return nil
    // A name that cannot be is also one that is not there.
    case .missing: return .refused(at.name == Names.tooLong ? [ENAMETOOLONG, ENOENT] : [ENOENT])
    case .found(let id): return .unless(causes(metadata.nodes[id]!))
    }
  }

  private func expectNewName(_ at: Place) -> Expectation? {
    switch lookup(at) {
    case .void: nil
    case .missing: at.name == Names.tooLong ? .refused([ENAMETOOLONG]) : .success
    case .found: .refused([EEXIST])
    }
  }

  private func expectOpen(
    _ at: Place, _ slot: Int, _ access: Access, _ map: (NodeID) -> ObservedMap
  ) -> Expectation? {
    guard handles.indices.contains(slot), handles[slot] == nil else { return nil }
    guard case .found(let id) = lookup(at), let node = node(id), node.kind == .file else { return nil }
    guard access.contains(.truncate) else { return .success }
    guard access.contains(.write) else { return nil }
    return under(judge(id, TruthTable.truncating(size: node.size, to: 0), by: nil))
  }

  private func expectRemoveDirectory(_ at: Place) -> Expectation? {
    expectExisting(at) { node in
      if node.kind != .directory { return [ENOTDIR] }
      return node.entries.isEmpty ? [] : [ENOTEMPTY, EEXIST]
    }
  }

  private func expectLink(_ from: Place, _ to: Place) -> Expectation? {
    guard directory(from.directory) != nil, directory(to.directory) != nil else { return nil }
    guard to.name != Names.tooLong else { return .refused([ENAMETOOLONG, ENOENT, EPERM]) }
    var causes: ErrnoSet = []
    switch lookup(from) {
    case .void: return nil
    case .missing: causes = from.name == Names.tooLong ? [ENAMETOOLONG, ENOENT] : [ENOENT]
    case .found(let id): if metadata.nodes[id]!.kind == .directory { causes.insert(EPERM) }
    }
    if case .found = lookup(to) { causes.insert(EEXIST) }
    return .unless(causes)
  }

  private func expectRename(_ from: Place, _ to: Place, _ flags: Int) -> Expectation? {
    guard let fromDirectory = directory(from.directory), let toDirectory = directory(to.directory), flags <= 2
    else { return nil }
    var causes: ErrnoSet = []
    for name in [from.name, to.name] where name == Names.tooLong { causes.insert(ENAMETOOLONG) }
    var source: (id: NodeID, node: ModelNode)?
    var target: (id: NodeID, node: ModelNode)?
    if case .found(let id) = lookup(from) { source = (id, metadata.nodes[id]!) }
    if case .found(let id) = lookup(to) { target = (id, metadata.nodes[id]!) }
    if source == nil { causes.insert(ENOENT) }
    if flags == 1 && target != nil { causes.insert(EEXIST) }
    if flags == 2 && target == nil { causes.insert(ENOENT) }
    if let source, source.node.kind == .directory, isWithin(toDirectory, source.id) { causes.insert(EINVAL) }
    if let target, target.node.kind == .directory, isWithin(fromDirectory, target.id) {
      causes.insert(flags == 2 ? EINVAL : ENOTEMPTY)
    }
    if let source, let target, flags == 0, source.id != target.id {
      switch (source.node.kind == .directory, target.node.kind == .directory) {
      case (true, true): if !target.node.entries.isEmpty { causes = causes.union([ENOTEMPTY, EEXIST]) }
      case (true, false): causes.insert(ENOTDIR)
      case (false, true): causes.insert(EISDIR)
      case (false, false): break
      }
    }
    return .unless(causes)
  }

  // MARK: Attributes

  private func expectAttribute(_ operation: Operation, _ node: ModelNode) -> Expectation {
    switch operation {
    case .setXattr(_, let name, _, _, let mode):
      let exists = node.xattrs[name] != nil
      return .unless(mode == 1 && exists ? [EEXIST] : mode == 2 && !exists ? [ENODATA] : [])
    case .getXattr(_, let name), .removeXattr(_, let name): return .unless(node.xattrs[name] == nil ? [ENODATA] : [])
    default: return .success
    }
  }

  // MARK: Contents

  func isSealed(_ id: NodeID) -> Bool { seals[id]?.isEmpty == false }

  func expectTruncation(_ id: NodeID, _ node: ModelNode, _ size: Int, by handle: ModelHandle?) -> Expectation? {
    guard size >= 0, size <= maximumFileBytes else { return nil }
    return under(judge(id, TruthTable.truncating(size: node.size, to: UInt64(size)), by: handle))
  }

  private func expectContent(_ operation: Operation, _ map: (NodeID) -> ObservedMap) -> Expectation? {
    switch operation {
    case .read(let slot, let offset, let length), .mapRead(let slot, let offset, let length):
      guard let handle = handle(slot), let size = metadata.nodes[handle.node]?.size,
        suits(handle, offset, length), length <= maximumFileBytes
      else { return nil }
      let count = min(UInt64(length), size - min(size, UInt64(offset)))
      if case .mapRead = operation, count == 0 || handle.access.contains(.direct) { return nil }
      return .success(count)
    case .write(let slot, let offset, let length, _):
      guard let handle = handle(slot), !handle.access.contains(.append), suits(handle, offset, length) else {
        return nil
      }
      return expectWrite(slot, offset, length, map)
    case .append(let slot, let length, _):
      guard let handle = handle(slot), handle.access.contains(.append), !handle.access.contains(.direct),
        let size = metadata.nodes[handle.node]?.size
      else { return nil }
      return expectWrite(slot, Int(size), length, map)
    case .mapWrite(let slot, let offset, let length, _): return expectMapWrite(slot, offset, length, map)
    case .truncate(let slot, let size):
      guard let handle = writableHandle(slot), let node = node(handle.node) else { return nil }
      return expectTruncation(handle.node, node, size, by: handle)
    case .allocate(let slot, let mode, let offset, let length):
      return expectAllocation(slot, mode, offset, length, map)
    case .copy(let slot, let offset, let toSlot, let toOffset, let length):
      return expectCopy(slot, offset, toSlot, toOffset, length, map)
    case .seek(let slot, let offset, let hole): return expectSeek(slot, offset, hole)
    case .sync(let slot, _): return handle(slot) == nil ? nil : .success
    case .relocate(let slot, let offset, let length, let alignment):
      guard let handle = writableHandle(slot), length > 0, offset + length <= maximumFileBytes, alignment > 0
      else { return nil }
      guard isSealed(handle.node) else { return .success }
      let range = UInt64(offset)..<UInt64(offset + length)
      return under(judge(handle.node, TruthTable.relocating(map(handle.node), range), by: handle))
    default: return nil
    }
  }

  /// O_DIRECT takes whole blocks only.
  private func suits(_ handle: ModelHandle, _ offset: Int, _ length: Int) -> Bool {
    !handle.access.contains(.direct) || (offset | length) % 4096 == 0
  }

  private func writableHandle(_ slot: Int) -> ModelHandle? {
    guard let handle = handle(slot), handle.access.contains(.write) else { return nil }
    return handle
  }

  private func expectWrite(
    _ slot: Int, _ offset: Int, _ length: Int, _ map: (NodeID) -> ObservedMap
  ) -> Expectation? {
    guard let handle = writableHandle(slot), let size = metadata.nodes[handle.node]?.size,
      offset + length <= maximumFileBytes
    else { return nil }
    if length == 0 || !isSealed(handle.node) { return .success(UInt64(length)) }
    return expectSealedWrite(handle, map(handle.node), size, UInt64(offset)..<UInt64(offset + length))
  }

  private func expectSealedWrite(
    _ handle: ModelHandle, _ map: ObservedMap, _ size: UInt64, _ range: Range<UInt64>
  ) -> Expectation {
    let change = TruthTable.writing(map, size: size, range)
    var expectation = under(judge(handle.node, change, by: handle), .success(UInt64(range.count)))
    if !expectation.refusal.isEmpty {
      expectation.partBeforeRefusal = seals[handle.node]!.map {
        TruthTable.prefix(of: range, size: size, change, before: $0)
      }
      .min()!
    }
    return expectation
  }

  /// A mapped store must lie within the file; into a sealed file's holes it is never made (SEMANTICS, Traps).
  private func expectMapWrite(
    _ slot: Int, _ offset: Int, _ length: Int, _ map: (NodeID) -> ObservedMap
  ) -> Expectation? {
    guard let handle = writableHandle(slot), let size = metadata.nodes[handle.node]?.size, length > 0,
      handle.access.isDisjoint(with: [.direct, .append]), UInt64(offset + length) <= size
    else { return nil }
    if isSealed(handle.node) {
      let pages = UInt64(offset) / 4096 * 4096..<min(size, (UInt64(offset + length) + 4095) / 4096 * 4096)
      guard TruthTable.plainPrefix(map(handle.node), pages) == UInt64(pages.count) else { return nil }
    }
    return .success(UInt64(length))
  }

  private func expectAllocation(
    _ slot: Int, _ mode: Int, _ offset: Int, _ length: Int, _ map: (NodeID) -> ObservedMap
  ) -> Expectation? {
    guard let handle = writableHandle(slot), let size = metadata.nodes[handle.node]?.size,
      offset + length <= maximumFileBytes
    else { return nil }
    if length == 0 { return .refused([EINVAL]) }
    var causes: ErrnoSet = []
    let isShift = mode == AllocationMode.collapseRange || mode == AllocationMode.insertRange
    if isShift {
      if (offset | length) % 4096 != 0 { causes.insert(EINVAL) }
      if mode == AllocationMode.collapseRange && UInt64(offset + length) >= size { causes.insert(EINVAL) }
      if mode == AllocationMode.insertRange && UInt64(offset) >= size { causes.insert(EINVAL) }
      if mode == AllocationMode.insertRange && Int(size) + length > maximumFileBytes { return nil }
    }
    let range = UInt64(offset)..<UInt64(offset + length)
    var expectation = Expectation(tolerated: isShift ? [EOPNOTSUPP] : [])
    if isSealed(handle.node) {
      let change = TruthTable.allocating(map(handle.node), size: size, mode: mode, range)
      expectation = under(judge(handle.node, change, by: handle), expectation)
    }
    expectation.refusal = expectation.refusal.union(causes)
    return expectation
  }

  private func expectCopy(
    _ slot: Int, _ offset: Int, _ toSlot: Int, _ toOffset: Int, _ length: Int, _ map: (NodeID) -> ObservedMap
  ) -> Expectation? {
    guard let source = handle(slot), let target = writableHandle(toSlot), !target.access.contains(.append),
      let sourceSize = metadata.nodes[source.node]?.size, let size = metadata.nodes[target.node]?.size,
      toOffset + length <= maximumFileBytes
    else { return nil }
    let count = min(UInt64(length), sourceSize - min(sourceSize, UInt64(offset)))
    // The kernel shortens the copy to the source's end before it looks for an overlap.
    if source.node == target.node, count > 0, offset < toOffset + Int(count), toOffset < offset + Int(count) {
      return .refused([EINVAL])
    }
    var expectation = Expectation.success(count)
    if isSealed(target.node), count > 0 {
      expectation = expectSealedWrite(target, map(target.node), size, UInt64(toOffset)..<UInt64(toOffset) + count)
    }
    expectation.mayBeShort = true
    return expectation
  }

  /// Where data starts is the filesystem's choice; `check` holds the answer against the bytes.
  private func expectSeek(_ slot: Int, _ offset: Int, _ hole: Bool) -> Expectation? {
    guard let handle = handle(slot), let size = metadata.nodes[handle.node]?.size,
      let content = contents[handle.node]
    else { return nil }
    if UInt64(offset) >= size { return .refused([ENXIO]) }
    if hole { return .success }
    let rest = content.bytes(offset..<Int(size))
    return rest.allSatisfy { $0 == 0 } ? Expectation(tolerated: [ENXIO]) : .success
  }
}
