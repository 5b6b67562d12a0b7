/// Holds what an operation brought back against the model, before the model takes the operation over.

extension ModelFilesystem {
  func check(_ operation: Operation, _ outcome: Outcome, _ results: TargetResults) -> StressFailure? {
    guard outcome.errno == 0 else { return nil }
    switch operation {
    case .read(let slot, let offset, _), .mapRead(let slot, let offset, _):
      guard let handle = handle(slot), let content = contents[handle.node], outcome.value > 0 else { return nil }
      let expected = content.bytes(offset..<offset + Int(outcome.value))
      return difference(handle.node, expected, results.bytes, offset)
    case .seek(let slot, let offset, let hole):
      guard let handle = handle(slot) else { return nil }
      return checkSeek(handle.node, offset, Int(outcome.value), hole)
    case .list(let slot):
      guard let id = directory(slot), let node = node(id) else { return nil }
      if let stranger = results.strangers.first { return StressFailure(.metadata, "directory \(id) lists \(stranger)") }
      var found = node
      found.entries = results.entries
      return node.difference(from: found).map { StressFailure(.metadata, "directory \(id): \($0)") }
    case .status(let at):
      guard case .found(let id) = lookup(at), let node = node(id), let found = results.node else { return nil }
      if results.inode != id { return StressFailure(.metadata, "\(at) is inode \(results.inode), expected \(id)") }
      return checkStatus(id, node, found)
    case .getXattr(let slot, let name):
      guard let handle = handle(slot), let value = metadata.nodes[handle.node]?.xattrs[name] else { return nil }
      return ValueDigest(results.bytes) == value
        ? nil : StressFailure(.metadata, "inode \(handle.node): attribute \(name) has another value")
    case .listXattrs(let slot):
      guard let handle = handle(slot), let node = node(handle.node) else { return nil }
      return checkXattrNames(handle.node, node, results.bytes)
    case .readSymlink(let at):
      guard case .found(let id) = lookup(at), let target = metadata.nodes[id]?.target else { return nil }
      return ValueDigest(results.bytes) == target
        ? nil : StressFailure(.metadata, "inode \(id): another symlink target")
    default: return nil
    }
  }

  func difference(
    _ id: NodeID, _ expected: UnsafeRawBufferPointer, _ found: UnsafeRawBufferPointer, _ offset: Int
  ) -> StressFailure? {
    if expected.elementsEqualQuickly(found) { return nil }
    return ByteReport.difference(of: id, expected: expected, found: found, offset: offset)
      .map { StressFailure(.contents, $0) }
  }

  /// What stat can tell; names and attributes are other operations' business.
  private func checkStatus(_ id: NodeID, _ node: ModelNode, _ found: ModelNode) -> StressFailure? {
    var expected = ModelNode(node.kind, mode: node.mode, links: node.links)
    expected.size = node.size
    return expected.difference(from: found).map { StressFailure(.metadata, "inode \(id): \($0)") }
  }

  private func checkSeek(_ id: NodeID, _ offset: Int, _ result: Int, _ hole: Bool) -> StressFailure? {
    guard let content = contents[id] else { return nil }
    guard result >= offset, result <= content.count, hole || result < content.count else {
      return StressFailure(.metadata, "inode \(id): lseek from \(offset) gives \(result), the size is \(content.count)")
    }
    let mustBeZero = hole ? result..<min(result + 1, content.count) : offset..<result
    if let byte = content.bytes(mustBeZero).firstIndex(where: { $0 != 0 }) {
      return StressFailure(
        .metadata,
        "inode \(id): lseek claims a hole at \(mustBeZero.lowerBound), but byte \(mustBeZero.lowerBound + byte) is data"
      )
    }
    return nil
  }

  private func checkXattrNames(_ id: NodeID, _ node: ModelNode, _ list: UnsafeRawBufferPointer) -> StressFailure? {
    let names = Set(
      list.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }.filter { $0.hasPrefix("user.") })
    let expected = Set(node.xattrs.keys.map { String(decoding: Names.xattr($0), as: UTF8.self) })
    return names == expected
      ? nil : StressFailure(.metadata, "inode \(id): attributes \(names.sorted()), expected \(expected.sorted())")
  }
}
