/// Layouts: requests by which a holder reads and writes the file's blocks on the image itself, and what the kernel's page
/// cache may do beside them (docs/decisions/0009-layouts.md). Derived from the standing requests; there is no other
/// table of grants.

import HoldfastBase

/// What an open of a file may do with the kernel's page cache.
public enum PageCacheUse: Equatable, Sendable {
  /// As usual.
  case free
  /// Nothing cached before is shown.
  case closeToOpen
  /// Every read and write comes to us.
  case none
}

extension SealTable {
  /// Whether a layout stands on the file. Without layouts on the mount no lock is taken.
  public func hasLayouts(_ inode: InodeNumber) -> Bool {
    if layoutCount.load(ordering: .acquiring) == 0 { return false }
    return withState { !$0.index.layouts(of: inode).isEmpty }
  }

  /// Whether somebody may be storing into the file through the image.
  public func hasWriteLayouts(_ inode: InodeNumber) -> Bool { pageCacheUse(of: inode) != .free }

  /// Whether somebody may be storing into any file through the image.
  public var hasWriteLayouts: Bool {
    if layoutCount.load(ordering: .acquiring) == 0 { return false }
    return withState { $0.index.writeLayoutCount > 0 || !$0.endedLayouts.isEmpty }
  }

  /// For who opens the file now.
  public func pageCacheUse(of inode: InodeNumber) -> PageCacheUse {
    if layoutCount.load(ordering: .acquiring) == 0 { return .free }
    return withState { state in
      var use = state.endedLayouts[inode] == nil ? PageCacheUse.free : .closeToOpen
      for slot in state.index.layouts(of: inode) {
        switch state.index[slot].request.layout {
        case .write: return .none
        case .sharedWrite: use = .closeToOpen
        case .read, nil: break
        }
      }
      return use
    }
  }

  /// Whether pages of these blocks may not be written back: it would overwrite what a holder has stored. Counted.
  public func refusesWriteback(of inode: InodeNumber, _ blocks: BlockRange) -> Bool {
    if layoutCount.load(ordering: .acquiring) == 0 { return false }
    return withState { state in
      let hasEnded = state.endedLayouts[inode]?.contains { $0.overlaps(blocks) } ?? false
      let isRefused =
        hasEnded
        || state.index.layouts(of: inode).contains { slot in
          let standing = state.index[slot]
          guard standing.isFlushed, standing.request.layout?.isWriting == true else { return false }
          return standing.request.scope.blocks?.overlaps(blocks) ?? true
        }
      if isRefused { state.refusals.addWriteback() }
      return isRefused
    }
  }

  /// Handles that have a layout on the file.
  public func layoutHandles(of inode: InodeNumber) -> Set<UInt64> {
    withState { state in
      Set(state.index.layouts(of: inode).compactMap { state.index[$0].request.identity.handle })
    }
  }

  /// A handle's layout.
  /// - Throws: `.stale` when it was taken away, `.noData` when there is none.
  public func layout(_ id: UInt64, ofHandle handle: UInt64, inode: InodeNumber) throws(FSError) -> RequestInfo {
    try withState { (state: inout State) throws(FSError) in
      let slot = state.index.layouts(of: inode).first {
        state.index[$0].id == id && state.index[$0].request.identity.handle == handle
      }
      guard let slot else { throw state.fenced.contains(handle: handle) ? .stale : .noData }
      return RequestInfo(state.index[slot], now: Clocks.monotonicNanoseconds())
    }
  }

  /// The page cache has been flushed for this layout: from now on nothing is written back over it.
  /// - Throws: `.stale` when it was taken away; `.recallInFlight` when it gave way to a map change before it was granted.
  @discardableResult
  public func setFlushed(_ id: UInt64, ofHandle handle: UInt64, inode: InodeNumber) throws(FSError) -> RequestInfo {
    try withState { (state: inout State) throws(FSError) in
      let slot = state.index.layouts(of: inode).first { state.index[$0].id == id }
      guard let slot else { throw state.fenced.contains(handle: handle) ? .stale : .recallInFlight }
      state.index.setFlushed(slot)
      return RequestInfo(state.index[slot], now: Clocks.monotonicNanoseconds())
    }
  }
}

extension SealTable.State {
  /// Who drops its pages knows of it.
  mutating func forgetEndedLayout(of inode: InodeNumber, _ blocks: BlockRange) {
    guard var ended = endedLayouts[inode], let index = ended.firstIndex(of: blocks) else { return }
    ended.remove(at: index)
    endedLayouts[inode] = ended.isEmpty ? nil : ended
  }
}
