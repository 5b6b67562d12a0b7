/// Actions and persistence points as operations of the stress, given what the model says is there.

extension ModelFilesystem {
  /// The file of this name; nil when there is none.
  private func file(_ name: CrashName) -> (id: NodeID, node: ModelNode)? {
    guard case .found(let id) = lookup(name.place), let node = node(id), node.kind == .file else { return nil }
    return (id, node)
  }

  /// The operations of a step's action; nil when its name is none that it can be done to. Slots `2 * step` and the next
  /// are the step's.
  func operations(of action: CrashAction, step: Int) -> [Operation]? {
    let slot = 2 * step
    let tag = 1000 + step
    /// Opens the file and does something to it.
    func opened(_ name: CrashName, _ body: (_ size: Int) -> Operation) -> [Operation]? {
      guard let file = file(name) else { return nil }
      return [.open(name.place, handle: slot, .write), body(Int(file.node.size))]
    }
    switch action {
    case .create(let name): return [.create(name.place, handle: slot, mode: 0o644)]
    case .makeDirectory(let name):
      return directories.firstIndex(of: nil).map { [.makeDirectory(name.place, slot: $0)] }
    case .symlink(let name): return [.symlink(name.place, length: 60, tag: tag)]
    case .unlink(let name): return [.unlink(name.place)]
    case .removeDirectory(let name): return [.removeDirectory(name.place)]
    case .rename(let from, let to): return [.rename(from.place, to: to.place, flags: 0)]
    case .exchange(let from, let to): return [.rename(from.place, to: to.place, flags: 2)]
    case .link(let from, let to): return [.link(from.place, to: to.place)]
    case .write(let name, let how):
      return opened(name) { size in
        switch how {
        case .append: .write(handle: slot, offset: size, length: 5000, tag: tag)
        case .overwrite: .write(handle: slot, offset: 1000, length: 5000, tag: tag)
        case .beyond: .write(handle: slot, offset: size + 6000, length: 3000, tag: tag)
        }
      }
    case .allocate(let name, let how):
      return opened(name) { size in
        switch how {
        case .allocate: .allocate(handle: slot, mode: 0, offset: size, length: 8192)
        case .keepSize: .allocate(handle: slot, mode: AllocationMode.keepSize, offset: size, length: 8192)
        case .punch:
          .allocate(
            handle: slot, mode: AllocationMode.punchHole | AllocationMode.keepSize, offset: 1000, length: 8000)
        case .zero: .allocate(handle: slot, mode: AllocationMode.zeroRange, offset: 2000, length: 8000)
        }
      }
    case .truncate(let name, let how):
      return opened(name) { size in .truncate(handle: slot, size: how == .down ? size * 9 / 20 : size + 7000) }
    case .setXattr(let name, let isLong):
      return opened(name) { _ in
        .setXattr(handle: slot, name: isLong ? 1 : 0, length: isLong ? 3000 : 20, tag: tag, mode: 0)
      }
    case .removeXattr(let name): return opened(name) { _ in .removeXattr(handle: slot, name: 0) }
    case .seal(let name, let persistent):
      return opened(name) { _ in .sealNamed(handle: slot, user: 0, name: 1, SealSpec(.fill, persistent: persistent)) }
    case .unseal(let name): return opened(name) { _ in .unsealNamed(handle: slot, user: 0, name: 1) }
    case .relocate(let name):
      return opened(name) { size in .relocate(handle: slot, offset: 0, length: max(size, 1), alignment: 1) }
    }
  }

  /// The operations of the persistence point behind a step's action; nil when there is no file to sync.
  func operations(of point: PersistencePoint, behind action: CrashAction, step: Int) -> [Operation]? {
    switch point {
    case .none: return []
    case .sync: return [.syncAll]
    case .fsyncDirectory: return [.syncDirectory(action.names[0].place.directory)]
    case .remount: return [.remount]
    case .fsync, .fdatasync:
      guard let name = (action.names + CrashName.allCases).first(where: { file($0) != nil }) else { return nil }
      let slot = 2 * step + 1
      return [
        .open(name.place, handle: slot, .write), .sync(handle: slot, dataOnly: point == .fdatasync),
      ]
    }
  }
}

extension CrashAction {
  /// What it is about; of two names the new one first.
  var names: [CrashName] {
    switch self {
    case .create(let name), .makeDirectory(let name), .symlink(let name), .write(let name, _), .allocate(let name, _),
      .truncate(let name, _), .unlink(let name), .removeDirectory(let name), .setXattr(let name, _),
      .removeXattr(let name), .seal(let name, _), .unseal(let name), .relocate(let name):
      [name]
    case .rename(let from, let to), .exchange(let from, let to), .link(let from, let to): [to, from]
    }
  }
}

extension CrashWorkload {
  /// Whether every action can be done, as far as the model alone can tell. `start` is the model of the initial tree.
  func isPossible(from start: ModelFilesystem) -> Bool {
    let model = ModelFilesystem(copying: start)
    // Never a number the filesystem gives out.
    var inode: NodeID = 1 << 40
    for (index, step) in steps.enumerated() {
      guard let action = model.operations(of: step.action, step: index), model.imagine(action, &inode),
        let point = model.operations(of: step.point, behind: step.action, step: index)
      else { return false }
      // What follows the last action cannot fail.
      if index + 1 < steps.count, !model.imagine(point, &inode) { return false }
    }
    return true
  }
}

extension ModelFilesystem {
  /// Does what a filesystem would do; false when it would refuse.
  fileprivate func imagine(_ operations: [Operation], _ inode: inout NodeID) -> Bool {
    for operation in operations {
      // A sealed file was filled before: all of it is mapped.
      let expectation = expect(operation) { id in
        let size = ((self.node(id)?.size ?? 0) + 4095) / 4096 * 4096
        return ObservedMap(extents: [MapExtent(logical: 0, physical: 0, length: size, isPlain: true)])
      }
      guard let expectation, expectation.refusal.isEmpty else { return false }
      inode += 1
      var value = expectation.value ?? 0
      switch operation {
      case .create, .makeDirectory, .symlink: value = inode
      default: break
      }
      commit(operation, .done(value))
      endOperation()
    }
    return true
  }
}
