/// Attributes: whole, under their own hash and with a name of their own they stay; else they move or go.

import HoldfastBase
import HoldfastFormat

extension Survey {
  /// The attribute whose pieces are passing.
  struct OpenAttribute {
    /// Offset without the piece; nil when none is open.
    var base: UInt64?
    var name = ""
    var keys: [Key] = []
    var remaining = 0
    var nextPiece: UInt64 = 0
    /// Given up: what follows of it goes too.
    var isDropped = false
    /// The value's records, when it must be filed under another hash.
    var moved: [[UInt8]]?
    /// Puts there were before it.
    var putsBefore = 0
    var names = NameGroup()
    /// Hashes of attributes that stay.
    var hashes: Set<UInt64> = []
    /// To be filed anew: hash and records.
    var homeless: [(hash: UInt64, name: String, pieces: [[UInt8]])] = []
  }

  mutating func takeAttribute(_ key: Key, _ value: UnsafeRawBufferPointer) {
    let piece = key.offset & XattrCheck.pieceMask
    let base = key.offset & ~XattrCheck.pieceMask
    if piece > 0 { return takePiece(piece, base, key, value) }
    closeAttribute()
    attribute.base = base
    attribute.keys = []
    attribute.nextPiece = 1
    attribute.remaining = 0
    attribute.isDropped = false
    attribute.moved = nil
    attribute.putsBefore = edits.puts.count
    attribute.name = "\(base)"
    guard let (valueBytes, name, first) = XattrRecord.decode(value) else { return dropAttribute(and: key) }
    attribute.name = String(decoding: name, as: UTF8.self)
    attribute.remaining = valueBytes - first.count
    if name.holds(0) { return dropAttribute(and: key) }
    let hash = NameHash.xattr(name, seed: superblock.hashSeed) & Key.maximumOffset
    if hash != base & XattrCheck.hashMask {
      attribute.moved = []
    } else if attribute.names.insert(name, hash: hash) {
      attribute.hashes.insert(hash)
    } else {
      return dropAttribute(and: key)
    }
    keepPiece(key, value)
  }

  private mutating func takePiece(_ piece: UInt64, _ base: UInt64, _ key: Key, _ value: UnsafeRawBufferPointer) {
    if attribute.base == base && attribute.isDropped { return edits.drop(key) }
    guard attribute.base == base, attribute.remaining > 0 else { return leaveOut(key) }
    guard piece == attribute.nextPiece, value.count == min(attribute.remaining, Key.pieceBytes) else {
      return dropAttribute(and: key)
    }
    attribute.remaining -= value.count
    attribute.nextPiece += 1
    keepPiece(key, value)
  }

  private mutating func keepPiece(_ key: Key, _ value: UnsafeRawBufferPointer) {
    attribute.keys.append(key)
    if attribute.moved == nil { return keep(key, value) }
    edits.drop(key)
    attribute.moved?.append([UInt8](value))
  }

  private mutating func dropAttribute(and key: Key) {
    attribute.isDropped = true
    attribute.moved = nil
    for key in attribute.keys + [key] { edits.drop(key) }
    edits.forgetPuts(since: attribute.putsBefore)
    notes.add(.attributeDropped(inode: inode.kept, name: attribute.name))
  }

  /// Before the next attribute or the first record of another type: what an incomplete one put comes last among the
  /// puts until then.
  mutating func closeAttribute() {
    guard attribute.base != nil else { return }
    if !attribute.isDropped && attribute.remaining > 0, let last = attribute.keys.last {
      dropAttribute(and: last)
    }
    attribute.base = nil
    if attribute.isDropped { return }
    inode.hasAttributes = true
    guard let pieces = attribute.moved, let first = pieces.first else { return }
    let hash = first.withUnsafeBytes { bytes in
      XattrRecord.decode(bytes).map { NameHash.xattr($0.name, seed: superblock.hashSeed) & Key.maximumOffset }
    }
    if let hash { attribute.homeless.append((hash, attribute.name, pieces)) }
  }

  /// After the inode's last attribute: files the homeless ones. Where the hash is taken, by the same name most likely,
  /// the one that was found under it stays.
  mutating func finishAttribute() {
    closeAttribute()
    for (hash, name, pieces) in attribute.homeless {
      guard attribute.hashes.insert(hash).inserted else {
        notes.add(.attributeDropped(inode: inode.kept, name: name))
        continue
      }
      for (piece, bytes) in pieces.enumerated() { edits.put(.file(inode.kept, .xattr, hash | UInt64(piece)), bytes) }
      notes.add(.attributeMoved(inode: inode.kept, name: name))
    }
    attribute.homeless = []
  }
}
