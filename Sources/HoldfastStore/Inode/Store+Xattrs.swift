/// Extended attributes as stored. Keys and pieces: HoldfastFormat/NameHash.swift, Records.swift.

import HoldfastBase
import HoldfastFormat

extension Store {
  private struct FoundXattr {
    var base: Key
    var valueBytes: Int
    var firstPiece: [UInt8]
  }

  /// Pieces a value of this many bytes takes.
  private static func pieces(_ valueBytes: Int) -> Int { max((valueBytes + Key.pieceBytes - 1) / Key.pieceBytes, 1) }

  /// The attribute named `name`, or the key of a free place for it.
  private func search(
    _ name: UnsafeRawBufferPointer, of number: InodeNumber
  ) throws(FSError) -> (found: FoundXattr?, free: Key?) {
    let base = NameHash.xattr(name, seed: volume.hashSeed)
    let step = UInt64(1) << NameHash.xattrPieceBits
    var free: Key?
    for collision in 0..<UInt64(1) << NameHash.xattrCollisionBits {
      let key = Key.file(number, .xattr, base + collision * step)
      guard let value = try tree.lookup(key) else {
        if free == nil { free = key }
        // Places are taken lowest first, but may have come free in between: look at what follows in this hash.
        guard let (next, _) = try tree.first(from: key), next.high == number, next.type == .xattr,
          next.offset < base + step << NameHash.xattrCollisionBits
        else { return (nil, free) }
        continue
      }
      guard let record = XattrRecord.decode(value) else { throw .corrupt(structure: .xattrRecord, block: number) }
      if record.name.elementsEqual(name) {
        return (FoundXattr(base: key, valueBytes: record.valueBytes, firstPiece: Array(record.firstPiece)), free)
      }
    }
    return (nil, free)
  }

  private func value(of found: FoundXattr) throws(FSError) -> [UInt8] {
    var value = found.firstPiece
    var piece: UInt64 = 1
    while value.count < found.valueBytes {
      guard let bytes = try tree.lookup(Key(high: found.base.high, low: found.base.low + piece)), bytes.count > 0,
        value.count + bytes.count <= found.valueBytes
      else { throw .corrupt(structure: .xattrRecord, block: found.base.object) }
      value.append(contentsOf: bytes)
      piece += 1
    }
    return value
  }

  /// Under the tree lock; nil when there is no such attribute.
  func storedXattr(_ name: UnsafeRawBufferPointer, of number: InodeNumber) throws(FSError) -> [UInt8]? {
    guard let found = try search(name, of: number).found else { return nil }
    return try value(of: found)
  }

  func storeXattr(
    _ name: UnsafeRawBufferPointer, of number: InodeNumber, _ value: UnsafeRawBufferPointer
  ) throws(FSError) {
    let (found, free) = try search(name, of: number)
    guard let base = found?.base ?? free else { throw .nameHashExhausted }
    let first = UnsafeRawBufferPointer(rebasing: value[..<min(value.count, Key.pieceBytes)])
    let encode = { (p: UnsafeMutableRawPointer) in
      _ = XattrRecord.encode(to: p, name: name, valueBytes: value.count, firstPiece: first)
    }
    try withEncoded(XattrRecord.headerBytes + name.count + first.count, encode) { bytes throws(FSError) in
      try put(base, bytes)
    }
    let pieces = Store.pieces(value.count)
    for piece in 1..<max(pieces, 1) {
      let from = piece * Key.pieceBytes
      let bytes = UnsafeRawBufferPointer(rebasing: value[from..<min(from + Key.pieceBytes, value.count)])
      try put(Key(high: base.high, low: base.low + UInt64(piece)), bytes)
    }
    for piece in pieces..<max(Store.pieces(found?.valueBytes ?? 0), pieces) {
      try delete(Key(high: base.high, low: base.low + UInt64(piece)))
    }
  }

  /// False when there is no such attribute.
  @discardableResult
  func deleteXattr(_ name: UnsafeRawBufferPointer, of number: InodeNumber) throws(FSError) -> Bool {
    guard let found = try search(name, of: number).found else { return false }
    for piece in 0..<Store.pieces(found.valueBytes) {
      try delete(Key(high: found.base.high, low: found.base.low + UInt64(piece)))
    }
    return true
  }

  // MARK: Operations

  /// - Throws: `.noData` when there is no such attribute.
  public func xattr(_ name: UnsafeRawBufferPointer, of inode: InodeNumber) throws(FSError) -> [UInt8] {
    guard name.count <= Limits.nameBytes else { throw .noData }
    return try reading { () throws(FSError) in
      _ = try self.inode(inode)
      guard let value = try storedXattr(name, of: inode) else { throw .noData }
      return value
    }
  }

  /// Sets an attribute; a POSIX ACL is checked and changes the mode as Linux does.
  public func setXattr(
    _ name: UnsafeRawBufferPointer, of inode: InodeNumber, to value: UnsafeRawBufferPointer, mode: XattrMode,
    dropSetGroupID: Bool = false, by caller: Credentials
  ) throws(FSError) {
    guard name.count > 0, name.count <= Limits.nameBytes else { throw .numberTooLarge }
    guard value.count <= Limits.xattrValueBytes else { throw .argumentTooLong }
    let keys = 2 * (Limits.xattrValueBytes / Key.pieceBytes) / (value.count > Key.pieceBytes ? 1 : 32) + 4
    try transaction(keys: keys, .growing) { () throws(FSError) in
      var record = try self.inode(inode)
      if !record.flags.isDisjoint(with: [.immutable, .appendOnly]) { throw .notPermitted }
      let exists = try search(name, of: inode).found != nil
      if mode == .create, exists { throw .exists }
      if mode == .replace, !exists { throw .noData }
      if !exists { try checkListRoom(for: name, of: inode) }
      record.changed = .now
      if let kind = AclKind(name) {
        try setAcl(kind, of: inode, value, dropSetGroupID: dropSetGroupID, &record)
      } else {
        try storeXattr(name, of: inode, value)
      }
      try putInode(inode, record)
    }
  }

  public func removeXattr(_ name: UnsafeRawBufferPointer, of inode: InodeNumber) throws(FSError) {
    // A value's pieces lie side by side, two to a leaf at least.
    try transaction(keys: Limits.xattrValueBytes / Key.pieceBytes / 2 + 4, .shrinking) { () throws(FSError) in
      var record = try self.inode(inode)
      if !record.flags.isDisjoint(with: [.immutable, .appendOnly]) { throw .notPermitted }
      guard try deleteXattr(name, of: inode) else { throw .noData }
      record.changed = .now
      try putInode(inode, record)
    }
  }

  /// Names, each NUL-terminated, as listxattr(2) wants them.
  public func listXattrs(of inode: InodeNumber) throws(FSError) -> [UInt8] {
    try reading { () throws(FSError) in
      _ = try self.inode(inode)
      return try xattrNames(of: inode)
    }
  }

  private func xattrNames(of number: InodeNumber) throws(FSError) -> [UInt8] {
    var names: [UInt8] = []
    var key = Key.file(number, .xattr, 0)
    while let (found, value) = try tree.first(from: key), found.high == number, found.type == .xattr {
      guard found.offset & (1 << NameHash.xattrPieceBits - 1) == 0, let record = XattrRecord.decode(value) else {
        throw .corrupt(structure: .xattrRecord, block: number)
      }
      names.append(contentsOf: record.name)
      names.append(0)
      // `checkListRoom` lets no more come to be.
      guard names.count <= Limits.xattrListBytes else { throw .corrupt(structure: .xattrRecord, block: number) }
      // Past the pieces.
      key = Key(high: found.high, low: found.low | (1 << NameHash.xattrPieceBits - 1)).successor
    }
    return names
  }

  /// More names than listxattr(2) can return must not come to be.
  private func checkListRoom(for name: UnsafeRawBufferPointer, of number: InodeNumber) throws(FSError) {
    guard try xattrNames(of: number).count + name.count + 1 <= Limits.xattrListBytes else { throw .noSpace }
  }

  /// `security.capability` goes with the set-id bits.
  func removeCapability(of number: InodeNumber) throws(FSError) {
    guard let (key, _) = try tree.first(from: .file(number, .xattr, 0)), key.high == number, key.type == .xattr else {
      return
    }
    let name: StaticString = "security.capability"
    try deleteXattr(UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount), of: number)
  }
}
