/// Shared mappings of files, made of the image: a handle opened under a layout has none through the mount (ENODEV).
///
/// What the program later does to its mappings (munmap, mremap to less, mprotect, something else mapped over them)
/// nobody tells us and nobody must: /proc/self/maps says which pieces of the image are mapped where, and the extents
/// they were made under, which bytes of the file those are.
///
/// When the layout has to go the mappings stay, for nobody else gets their blocks while they do (the lease). The
/// layout is taken again as soon as the one who needed the map changed is done: then pieces that moved are mapped
/// anew. Where that cannot be (a hole was made, a handle beside us uses the page cache), all of them are mapped
/// through the mount instead.
///
/// Called by the keeper's threads, `keeperLock` held.

import CHoldfast
import CPreload
import Synchronization

extension UnsafeMutablePointer where Pointee == Registry {
  // MARK: New mappings

  /// mmap(2) of a file being served; ENODATA: through the mount. EINPROGRESS, somebody recalls it now, and EBUSY, somebody
  /// uses the page cache, may pass.
  func map(_ question: Question) -> Answer {
    let index = question.file
    let code = grant(index)
    guard code == 0, let layout = files[index].layout else {
      return Answer(code: code == EAGAIN ? EINPROGRESS : code == EBUSY ? EBUSY : ENODATA)
    }
    let block = ExtentTable.blockBytes - 1
    let length = (UInt64(question.length) + block) & ~block
    guard question.offset >= 0, UInt64(question.offset) & block == 0, length > 0,
      UInt64(question.offset) < UInt64(Int64.max) - length
    else { return Answer(code: ENODATA) }
    // Behind the end only the mount has SIGBUS.
    guard UInt64(question.offset) + length <= (layout.pointee.fileSize + block) & ~block else {
      return Answer(code: ENODATA)
    }
    let (defect, pieces) = layout.pointee.space.extents.storable(UInt64(question.offset), length)
    guard defect == nil, pieces <= DirectSpace.maximumPieces else { return Answer(code: ENODATA) }

    // Marked first: the watcher must not free the extents.
    files[index].isMapped = true
    if question.isWriting { files[index].isStored.store(1, ordering: .relaxed) }
    var answer = Answer()
    let isFixed = question.flags & holdfast_map_fixed != 0
    var address = Int64(bitPattern: UInt64(question.address))
    if !isFixed || pieces > 1 {
      // The flags that say where: all but the type.
      let placing = question.flags & ~holdfast_map_type & ~holdfast_map_populate
      address = holdfast_direct_map(
        question.address, Int(length), PROT_NONE, placing | holdfast_map_reserve, -1, 0)
    }
    guard address >= 0 else {
      answer.code = Int32(-address)
      return answer
    }
    var done: UInt64 = 0
    while done < length {
      let piece = layout.pointee.space.extents.piece(at: UInt64(question.offset) + done, limit: length - done)
      let flags = question.flags & ~holdfast_map_fixed_noreplace | holdfast_map_fixed
      let result = holdfast_direct_map(
        UInt(address) + UInt(done), Int(piece.length), question.protection, flags,
        layout.pointee.space.image.descriptor, Int64(piece.physical))
      guard result >= 0 else {
        _ = holdfast_direct_unmap(UInt(address), Int(length))
        answer.code = Int32(-result)
        return answer
      }
      done += piece.length
    }
    answer.address = UInt(address)
    return answer
  }

  // MARK: Mappings there are

  /// Of a file whose layout was returned: takes it again, or gives up the image.
  func keepMappings(_ index: Int) {
    guard hasMappings(index) else {
      files[index].isMapped = false
      files[index].isLost = false
      freeMappedLayout(index)
      if files[index].word.load(ordering: .acquiring) & ServedFile.cached == 0 { letGoOfPageCache(index) }
      return
    }
    // A recall is under way, or: a handle whose requests were taken away gets no layout any more.
    let code = grant(index)
    if code == 0 || code == EAGAIN { return }
    _ = goThroughMount(index)
  }

  /// The layout is new: what lies elsewhere now is mapped anew. False: a part of it has no blocks any more, or lies behind
  /// the end, where only the mount has SIGBUS, and takes it back when the file grows. Then nothing was touched.
  func moveMappings(_ index: Int) -> Bool {
    guard let old = files[index].mappedLayout, let new = files[index].layout else { return true }
    let block = ExtentTable.blockBytes - 1
    let end = (new.pointee.fileSize + block) & ~block
    var isLost = false
    /// Calls `body` with what each piece is of now, as long as all of it is on the image.
    func eachPart(_ body: (_ piece: MappedPiece, _ done: UInt64, _ now: Piece) -> Void) -> Int? {
      eachMapping(of: old) { piece in
        var done: UInt64 = 0
        while done < piece.length, !isLost {
          let logical = piece.logical + done
          let now = new.pointee.space.extents.piece(at: logical, limit: piece.length - done)
          isLost = logical >= end || !(now.state == .written || now.state == .prepared)
          if !isLost { body(piece, done, now) }
          done += now.length
        }
      }
    }
    let count = eachPart { _, _, _ in }
    files[index].isLost = isLost || count == nil
    if files[index].isLost { return false }
    // A piece for which the kernel has no room any more stays at the old place, which is nobody's.
    _ = eachPart { piece, done, now in
      guard now.physical != piece.physical + done else { return }
      _ = Self.replace(
        piece.address + UInt(done), now.length, piece.protection, new.pointee.space.image.descriptor, now.physical)
    }
    freeMappedLayout(index)
    if count == 0 { files[index].isMapped = false }
    return true
  }

  /// Puts a mapping in another's place, or leaves that: MAP_FIXED would take the old one away before it can fail.
  private static func replace(
    _ address: UInt, _ length: UInt64, _ protection: Int32, _ descriptor: Int32, _ offset: UInt64
  ) -> Bool {
    let made = holdfast_direct_map(0, Int(length), protection, holdfast_map_shared, descriptor, Int64(offset))
    guard made >= 0 else { return false }
    if holdfast_raw_mremap(UInt(made), Int(length), address) >= 0 { return true }
    _ = holdfast_direct_unmap(UInt(made), Int(length))
    return false
  }

  func hasMappings(_ index: Int) -> Bool {
    guard let layout = files[index].mappedLayout ?? files[index].layout else { return false }
    return eachMapping(of: layout) { _ in } != 0
  }

  /// Whether some of these bytes of memory are mapped from the file's blocks on the image.
  func hasMappings(_ index: Int, within address: UInt, _ length: Int) -> Bool {
    guard let layout = files[index].mappedLayout ?? files[index].layout else { return false }
    var isWithin = false
    let count = eachMapping(of: layout) { piece in
      if piece.address < address + UInt(length), address < piece.address + UInt(piece.length) { isWithin = true }
    }
    return isWithin || count == nil
  }

  /// Returns the layout; mappings go through the mount from now on, and reads and writes with them. EAGAIN: not while
  /// somebody else has a layout of the file.
  func convert(_ index: Int, _ ownTransfers: UInt32) -> Int32 {
    let file = files + index
    guard file.pointee.isUsed else { return ENODATA }
    if file.pointee.word.load(ordering: .acquiring) & ServedFile.cached != 0 { return 0 }
    // Or the mender would take it again meanwhile. It goes on with this when it cannot be done now.
    if file.pointee.isMapped { file.pointee.isLost = true }
    release(index, ownTransfers)
    return goThroughMount(index) ? 0 : EAGAIN
  }

  /// False when that, or some piece of a mapping, could not be: it stays what it is, and is tried again.
  func goThroughMount(_ index: Int) -> Bool {
    let file = files + index
    guard holdPageCache(index) else { return false }
    if let layout = file.pointee.mappedLayout {
      let cached = file.pointee.cachedHandle - 1
      var isDone = true
      let count = eachMapping(of: layout) { piece in
        if !Self.replace(piece.address, piece.length, piece.protection, cached, piece.logical) { isDone = false }
      }
      guard isDone, count != nil else { return false }
    }
    file.pointee.isMapped = false
    file.pointee.isLost = false
    freeMappedLayout(index)
    file.pointee.word.bitwiseOr(ServedFile.cached, ordering: .acquiringAndReleasing)
    return true
  }

  /// Opens the file so that the page cache is used, for as long as it is served: nobody gets a layout beside that, so every
  /// handle opened from now on uses it, too. False: somebody has one. That only a mapping shows, and to close what was
  /// opened in vain costs the program no locks in this table.
  private func holdPageCache(_ index: Int) -> Bool {
    let file = files + index
    if file.pointee.cachedHandle > 0 { return true }
    var path = DescriptorPath(thread: holdfast_gettid(), descriptor: file.pointee.handle)
    let handle = path.open(O_CLOEXEC | O_NOCTTY | (file.pointee.isWriting ? O_RDWR : O_RDONLY))
    guard handle >= 0 else { return false }
    let length = Int(ExtentTable.blockBytes)
    let mapping = holdfast_direct_map(0, length, PROT_READ, holdfast_map_shared, handle, 0)
    guard mapping >= 0 else {
      holdfast_direct_close(handle)
      return false
    }
    _ = holdfast_direct_unmap(UInt(mapping), length)
    file.pointee.cachedHandle = handle + 1
    return true
  }

  /// Others may have layouts again.
  func letGoOfPageCache(_ index: Int) {
    let handle = files[index].cachedHandle - 1
    if handle >= 0 { holdfast_direct_close(handle) }
    files[index].cachedHandle = 0
  }

  /// Every piece of this process's memory that is a piece of the file. Returns how many; nil when nobody can tell now.
  private func eachMapping(
    of layout: UnsafeMutablePointer<DirectLayout>, _ body: (MappedPiece) -> Void
  ) -> Int? {
    var identity = holdfast_identity()
    guard holdfast_identify(layout.pointee.space.image.descriptor, &identity) == 0 else { return nil }
    // Read to its end first: mapping changes what is being read.
    guard let areas = MemoryAreas(device: identity.device, inode: identity.inode) else { return nil }
    var count = 0
    for position in 0..<areas.count {
      let area = areas[position]
      for extent in 0..<layout.pointee.space.extents.count {
        let extent = layout.pointee.space.extents[extent]
        let first = max(area.offset, extent.physical)
        let last = min(area.offset + area.length, extent.physical + extent.length)
        guard first < last else { continue }
        count += 1
        body(
          MappedPiece(
            address: area.address + UInt(first - area.offset), length: last - first, physical: first,
            logical: extent.logical + (first - extent.physical), protection: area.protection))
      }
    }
    return count
  }
}

private struct MappedPiece {
  var address: UInt
  var length: UInt64
  var physical: UInt64
  var logical: UInt64
  var protection: Int32
}
