/// Where blocks that move are to go: a condition on runs of the image, nothing more.

import HoldfastBase

public struct Placement: Equatable, Sendable {
  /// Only inside these image blocks …
  public var within: BlockRange
  /// … and outside these.
  public var avoiding: BlockRange
  /// The image block a run begins at is a multiple of this.
  public var alignment: UInt64
  /// What lies together in the file goes into one run or nowhere; else into as few as there are.
  public var isWhole: Bool

  public init(
    within: BlockRange = Placement.everywhere, avoiding: BlockRange = BlockRange(start: 0, count: 0),
    alignment: UInt64 = 1, isWhole: Bool = false
  ) {
    precondition(alignment > 0)
    self.within = within
    self.avoiding = avoiding
    self.alignment = alignment
    self.isWhole = isWhole
  }

  /// All blocks there can be.
  public static let everywhere = BlockRange(start: 0, count: UInt64.max / 2)

  /// One run, wherever.
  public static let contiguous = Placement(isWhole: true)

  /// Anywhere below an image block: what shrinking wants.
  public static func below(_ block: BlockNumber) -> Placement { Placement(within: BlockRange(start: 0, count: block)) }

  /// The longest part of a free run that may be used, at most `want` blocks; nil when that is none. Of two equal ones
  /// the lower.
  func place(in run: BlockRange, want: UInt64) -> BlockRange? {
    let usable = run.intersection(within)
    var best: BlockRange?
    for part in usable.subtracting(avoiding) {
      let start = (part.start + alignment - 1) / alignment * alignment
      let fit = BlockRange(from: start, to: min(part.end, start + want))
      if fit.count > best?.count ?? 0 { best = fit }
    }
    return best
  }
}

extension BlockRange {
  /// What is left of it without `other`: no, one or two ranges.
  func subtracting(_ other: BlockRange) -> [BlockRange] {
    if isEmpty { return [] }
    guard !other.isEmpty, overlaps(other) else { return [self] }
    return [BlockRange(from: start, to: min(end, other.start)), BlockRange(from: max(start, other.end), to: end)]
      .filter { !$0.isEmpty }
  }

  /// What is left of it without all of `others`.
  func subtracting(_ others: [BlockRange]) -> [BlockRange] {
    others.reduce(isEmpty ? [] : [self]) { rest, other in rest.flatMap { $0.subtracting(other) } }
  }
}
