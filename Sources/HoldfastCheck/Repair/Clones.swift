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

  /// Takes room for `contested` out of `available`. What finds none is a hole.
  init(_ contested: [MappedExtent], from available: [BlockRange], _ survey: inout Survey) {
    // The longest first: what these cannot hold no others can.
    var runs = available.sorted { ($0.count, $1.start) < ($1.count, $0.start) }
    for extent in contested {
      // Reads as zeros, with blocks or without.
      guard !extent.flags.contains(.unwritten), let runs = Self.take(UInt64(extent.count), &runs) else {
        survey.lose(extent)
        continue
      }
      var start = extent.physical
      for run in runs {
        copies.append(Copy(source: extent.part(BlockRange(start: start, count: run.count)), target: run))
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

  /// Copies, and puts the extents. Blocks that cannot be read become a hole: the file that keeps them has them still.
  func write(_ device: BlockDevice, _ survey: inout Survey) throws(FSError) {
    let buffer = AlignedBuffer(byteCount: 1 << 20)
    for copy in copies {
      guard try Self.copy(copy, device, buffer) else {
        survey.lose(copy.source)
        continue
      }
      var extent = MappedExtent(
        inode: copy.source.inode, fileBlock: copy.source.fileBlock, physical: copy.target.start,
        count: copy.source.count, flags: copy.source.flags.subtracting(.shared))
      extent.isNew = true
      survey.put(extent)
    }
  }

  /// False when the source cannot be read.
  private static func copy(_ copy: Copy, _ device: BlockDevice, _ buffer: AlignedBuffer) throws(FSError) -> Bool {
    var done: UInt64 = 0
    while done < copy.target.count {
      let count = min(copy.target.count - done, UInt64(buffer.bytes.count >> Block.shift))
      let bytes = UnsafeMutableRawBufferPointer(rebasing: buffer.bytes[..<(Int(count) << Block.shift)])
      do throws(FSError) {
        try device.read(into: bytes, at: (copy.source.physical + done) << UInt64(Block.shift))
      } catch {
        return false
      }
      try device.write(UnsafeRawBufferPointer(bytes), at: (copy.target.start + done) << UInt64(Block.shift))
      done += count
    }
    return true
  }
}
