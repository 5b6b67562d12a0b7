/// Takes over what an operation did. Called after the outcome was accepted, or, for the operation a power cut
/// interrupted, as if it had been done.

import Glibc

extension ModelFilesystem {
  func commit(_ operation: Operation, _ outcome: Outcome) {
    guard outcome.errno == 0 else { return }
    switch operation {
    case .create(let at, let slot, let mode):
      guard let directory = directory(at.directory) else { return }
      let id = outcome.value
      apply(.make(id, ModelNode(.file, mode: UInt32(mode))))
      apply(.enter(directory: directory, name: at.name, node: id))
      contents[id] = ModelContent(clock: clock)
      openHandle(slot, node: id, access: .write)
    case .makeDirectory(let at, let slot):
      guard let directory = directory(at.directory) else { return }
      var node = ModelNode(.directory, mode: 0o755)
      node.parent = directory
      apply(.make(outcome.value, node))
      apply(.enter(directory: directory, name: at.name, node: outcome.value))
      directories[slot] = outcome.value
    case .symlink(let at, let length, let tag):
      guard let directory = directory(at.directory) else { return }
      var node = ModelNode(.symlink, mode: 0o777)
      node.target = ValueDigest(Names.symlinkTarget(length: length, tag: tag))
      apply(.make(outcome.value, node))
      apply(.enter(directory: directory, name: at.name, node: outcome.value))
    case .open(let at, let slot, let access):
      guard case .found(let id) = lookup(at) else { return }
      openHandle(slot, node: id, access: access)
      if access.contains(.truncate) { setSize(id, 0) }
    case .close(let slot): closeHandle(slot)
    case .removeDirectory(let at):
      guard let directory = directory(at.directory), case .found(let id) = lookup(at) else { return }
      apply(.leave(directory: directory, name: at.name))
      apply(.drop(id))
      for slot in directories.indices where directories[slot] == id { directories[slot] = nil }
    case .unlink(let at): removeName(at)
    case .link(let from, let to):
      guard let directory = directory(to.directory), case .found(let id) = lookup(from) else { return }
      apply(.links(id, metadata.nodes[id]!.links + 1))
      apply(.enter(directory: directory, name: to.name, node: id))
    case .rename(let from, let to, let flags): rename(from, to, exchange: flags == 2)
    case .setMode, .setXattr, .removeXattr: commitAttribute(operation)
    case .seal, .unseal, .unpin, .sealNamed, .unsealNamed, .sealProcess, .sealTimed, .endProcess, .holderExit, .fence,
      .revoke, .become:
      commitSeal(operation)
    case .sync, .syncDirectory, .syncAll: allDurable()
    default: commitContent(operation, outcome)
    }
  }

  // MARK: Namespace

  private func removeName(_ at: Place) {
    guard let directory = directory(at.directory), case .found(let id) = lookup(at) else { return }
    apply(.leave(directory: directory, name: at.name))
    apply(.links(id, metadata.nodes[id]!.links - 1))
    if metadata.nodes[id]!.links == 0 { recallAll(of: id) }
    dropIfUnused(id)
  }

  private func rename(_ from: Place, _ to: Place, exchange: Bool) {
    guard let fromDirectory = directory(from.directory), let toDirectory = directory(to.directory),
      case .found(let id) = lookup(from)
    else { return }
    if case .found(let target) = lookup(to) {
      if target == id { return }
      if exchange {
        apply(.enter(directory: fromDirectory, name: from.name, node: target))
        apply(.enter(directory: toDirectory, name: to.name, node: id))
        if metadata.nodes[target]?.kind == .directory { apply(.parent(target, fromDirectory)) }
        if metadata.nodes[id]?.kind == .directory { apply(.parent(id, toDirectory)) }
        return
      }
      if metadata.nodes[target]?.kind == .directory {
        apply(.leave(directory: toDirectory, name: to.name))
        apply(.drop(target))
        for slot in directories.indices where directories[slot] == target { directories[slot] = nil }
      } else {
        removeName(to)
      }
    }
    apply(.leave(directory: fromDirectory, name: from.name))
    apply(.enter(directory: toDirectory, name: to.name, node: id))
    if metadata.nodes[id]?.kind == .directory { apply(.parent(id, toDirectory)) }
  }

  // MARK: Attributes

  private func commitAttribute(_ operation: Operation) {
    switch operation {
    case .setMode(let slot, let mode):
      if let handle = handle(slot) { apply(.mode(handle.node, UInt32(mode))) }
    case .setXattr(let slot, let name, let length, let tag, _):
      guard let handle = handle(slot) else { return }
      apply(.xattr(handle.node, name: name, ValueDigest(Self.xattrValue(length: length, tag: tag))))
    case .removeXattr(let slot, let name):
      if let handle = handle(slot) { apply(.xattr(handle.node, name: name, nil)) }
    default: break
    }
  }

  static func xattrValue(length: Int, tag: Int) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: length) { buffer, count in
      Pattern.fill(UnsafeMutableRawBufferPointer(buffer), tag: PatternTag(job: 63, number: tag), offset: 0)
      count = length
    }
  }

  // MARK: Contents

  private func commitContent(_ operation: Operation, _ outcome: Outcome) {
    let count = Int(outcome.value)
    switch operation {
    case .write(let slot, let offset, _, let tag), .mapWrite(let slot, let offset, _, let tag):
      if let handle = handle(slot) { writePattern(handle.node, offset: offset, count: count, tag: tag) }
    case .append(let slot, _, let tag):
      guard let handle = handle(slot), let node = node(handle.node) else { return }
      writePattern(handle.node, offset: Int(node.size), count: count, tag: tag)
    case .truncate(let slot, let size):
      if let handle = handle(slot) { setSize(handle.node, size) }
    case .truncateName(let at, let size):
      if case .found(let id) = lookup(at) { setSize(id, size) }
    case .allocate(let slot, let mode, let offset, let length):
      if let handle = handle(slot) { allocate(handle.node, mode, offset, length) }
    case .copy(let slot, let offset, let toSlot, let toOffset, _):
      guard let source = handle(slot), let target = handle(toSlot), let from = contents[source.node], count > 0
      else { return }
      let copied = Array(from.bytes(offset..<offset + count))
      copied.withUnsafeBytes { contents[target.node]?.write($0, at: toOffset) }
      grew(target.node)
    default: break
    }
  }

  private func writePattern(_ id: NodeID, offset: Int, count: Int, tag: Int) {
    guard count > 0, let content = contents[id] else { return }
    withUnsafeTemporaryAllocation(byteCount: count, alignment: 16) { buffer in
      Pattern.fill(buffer, tag: PatternTag(job: job, number: tag), offset: UInt64(offset))
      content.write(UnsafeRawBufferPointer(buffer), at: offset)
    }
    grew(id)
    if hasUnprivilegedWrites, Self.isUnprivileged(tag), let node = node(id) {
      // As Linux: set-user-id goes, set-group-id where the group may execute.
      let mode = node.mode & (node.mode & 0o010 == 0 ? ~0o4000 : ~0o6000)
      if mode != node.mode { apply(.mode(id, mode)) }
    }
  }

  /// Whether the write of this tag is one of a user who is not root.
  static func isUnprivileged(_ tag: Int) -> Bool { tag % 3 == 0 }

  private func allocate(_ id: NodeID, _ mode: Int, _ offset: Int, _ length: Int) {
    guard let content = contents[id], let node = node(id) else { return }
    switch mode & ~AllocationMode.keepSize {
    case AllocationMode.punchHole: content.zero(offset..<offset + length)
    case AllocationMode.collapseRange: content.collapse(offset..<offset + length)
    case AllocationMode.insertRange: content.insert(offset..<offset + length)
    case AllocationMode.zeroRange:
      content.zero(offset..<offset + length)
      fallthrough
    default:
      if mode & AllocationMode.keepSize == 0, offset + length > Int(node.size) { content.resize(to: offset + length) }
    }
    grew(id)
  }

  private func setSize(_ id: NodeID, _ size: Int) {
    contents[id]?.resize(to: size)
    grew(id)
  }

  /// The size follows the bytes.
  private func grew(_ id: NodeID) {
    guard let content = contents[id], let node = node(id), node.size != UInt64(content.count) else { return }
    apply(.size(id, UInt64(content.count)))
  }
}
