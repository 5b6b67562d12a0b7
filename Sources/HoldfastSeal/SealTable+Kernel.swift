/// The kernel as a holder: requests that stand for what it was told of a map by BMAP (docs/decisions/0012).

import HoldfastBase

extension SealTable {
  /// Before the kernel is told where blocks of `inode` are: a request of its own stands from here on, until every one of
  /// `handles`, and of those named at earlier answers, is closed.
  /// - Parameter handles: all that are open on the inode.
  /// - Precondition: the caller holds the inode's map lock, exclusively.
  /// - Throws: `.invalid(.notSealed)` without a hard request of somebody's on the whole file; `.laidOut` beside a layout for
  ///   writing; `.recallInFlight` (row 21).
  /// - Returns: whether all that was written to the file is known to be on the device: `kernelIsSettled` told so.
  public func holdForKernel(
    _ inode: InodeNumber, handles: [UInt64], asker: Credentials, generation: UInt64
  ) throws(FSError) -> Bool {
    try withState { (state: inout State) throws(FSError) in
      guard state.index.hasSealOfSomebodys(inode), !handles.isEmpty else { throw .invalid(.notSealed) }
      // It would swap over what the holder stores, and the other way round.
      if state.index.hasWriteLayouts(inode) { throw .laidOut }
      let isStanding = state.index.slot(.kernel, inode) != nil
      if !isStanding, state.recalls.isBusy(inode) { throw .recallInFlight }
      state.kernel.add(handles, of: inode)
      if !isStanding {
        let request = SealRequest(heldByKernelFor: asker)
        _ = state.index.add(request, inode: inode, generation: generation)
      }
      return state.kernel.isSettled(inode)
    }
  }

  public func kernelIsSettled(_ inode: InodeNumber) { withState { $0.kernel.settle(inode) } }

  /// Whether the kernel may store into blocks this file has or had, by what it was told of them. Where it was told nothing
  /// on the mount no lock is taken.
  public func isKnownToKernel(_ inode: InodeNumber) -> Bool {
    if kernelInodeCount.load(ordering: .acquiring) == 0 { return false }
    return withState { $0.kernel.isKnown(inode) }
  }

  /// Whether it knows of any file.
  public var kernelHoldsAny: Bool { kernelInodeCount.load(ordering: .acquiring) > 0 }

  /// Called, with no lock held, when the kernel was told of a first file, and when it uses none any more.
  public var onKernelHolding: (@Sendable (Bool) -> Void)? {
    get { withState { $0.onKernelHolding } }
    set { withState { $0.onKernelHolding = newValue } }
  }
}

extension SealTable.State {
  /// A handle is closed: perhaps the last the kernel could use a map through.
  mutating func kernelHandleClosed(_ handle: UInt64) {
    guard let inode = kernel.handleClosed(handle) else { return }
    if let slot = index.slot(.kernel, inode) { _ = end([slot]) }
  }
}
