/// Copies of blocks that two files mapped, for the file that does not keep them: to free blocks, before anything else
/// is written.

import HoldfastBase
import HoldfastDevice
import HoldfastFormat

struct Clones {
  /// Pieces a copy may fall into: a file should not be shredded.
  static let maximumPieces = 4

  private struct Copy {
    var source: MappedExtent
    var target: BlockRange
  }

  /// Blocks taken.
  private(set) var taken: [BlockRange] = []
  private var copies: [Copy] = []

  /// Bytes copied at a time.
  private static let bufferBytes = 1 << 20

  /// Takes room for `contested` out of `available`. What finds none is a hole, and so are blocks that cannot be
  /// read: the file that keeps them has them still.
  init(
    _ contested: [MappedExtent], from available: [BlockRange], _ survey: inout Survey, _ reader: ImageReader
  ) {
    let buffer = AlignedBuffer(byteCount: Self.bufferBytes)
    // The longest first: what these cannot hold no others can.
    var runs = available.sorted { ($0.count, $1.start) < ($1.count, $0.start) }
    for extent in contested.flatMap({ Self.readable($0, &survey, reader, buffer) }) {
      guard let runs = Self.take(UInt64(extent.count), &runs) else {
        survey.lose(extent)
        continue
      }
      var start = extent.physical
      for run in runs {
        let part = extent.part(BlockRange(start: start, count: run.count))
        copies.append(Copy(source: part, target: run))
        survey.clearTail(in: part, at: run.start)
        start += run.count
      }
      taken += runs
      survey.notes.add(
        .blocksCloned(inode: extent.inode, fileBlock: extent.fileBlock, count: UInt64(extent.count)))
    }
  }

  /// `count` blocks off the end of `runs`, in few pieces; nil, and nothing taken, when there are not so many.
  private static func take(_ count: UInt64, _ runs: inout [BlockRange]) -> [BlockRange]? {
    guard runs.suffix(maximumPieces).map(\.count).reduce(0, +) >= count else { return nil }
    var taken: [BlockRange] = []
    var wanted = count
    while wanted > 0, let run = runs.popLast() {
      let piece = BlockRange(start: run.start, count: min(wanted, run.count))
      taken.append(piece)
      wanted -= piece.count
      if piece.end < run.end { runs.append(BlockRange(from: piece.end, to: run.end)) }
    }
    return taken
  }

  /// The parts of `extent` that can be copied; the others are lost.
  private static func readable(
    _ extent: MappedExtent, _ survey: inout Survey, _ reader: ImageReader, _ buffer: AlignedBuffer
  ) -> [MappedExtent] {
    // Reads as zeros, with blocks or without.
    if extent.flags.contains(.unwritten) {
      survey.lose(extent)
      return []
    }
    var bad: [BlockRange] = []
    for piece in pieces(of: extent.range) where !reader.canRead(into: part(of: buffer, piece), from: piece.start) {
      for block in piece.start..<piece.end {
        let one = BlockRange(start: block, count: 1)
        if !reader.canRead(into: part(of: buffer, one), from: block) { bad.append(one) }
      }
    }
    for run in bad.merged() { survey.lose(extent.part(run)) }
    return [extent.range].subtracting(bad.merged()).map { extent.part($0) }
  }

  /// Ranges a buffer holds.
  private static func pieces(of range: BlockRange) -> [BlockRange] {
    let most = UInt64(bufferBytes >> Block.shift)
    return stride(from: range.start, to: range.end, by: Int(most)).map {
      BlockRange(start: $0, count: min(most, range.end - $0))
    }
  }

  /// As much of the buffer as `range` takes.
  private static func part(of buffer: AlignedBuffer, _ range: BlockRange) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<(Int(range.count) << Block.shift)])
  }

  /// Copies, and puts the extents.
  func write(_ device: BlockDevice, _ survey: inout Survey) throws(FSError) {
    let buffer = AlignedBuffer(byteCount: Self.bufferBytes)
    for copy in copies {
      var target = copy.target.start
      for piece in Self.pieces(of: copy.source.range) {
        let bytes = Self.part(of: buffer, piece)
        try device.read(into: bytes, at: piece.start << UInt64(Block.shift))
        try device.write(UnsafeRawBufferPointer(bytes), at: target << UInt64(Block.shift))
        target += piece.count
      }
      var extent = MappedExtent(
        inode: copy.source.inode, fileBlock: copy.source.fileBlock, physical: copy.target.start,
        count: copy.source.count, flags: copy.source.flags.subtracting(.shared))
      extent.isNew = true
      survey.put(extent)
    }
  }
}
