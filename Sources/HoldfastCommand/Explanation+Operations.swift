/// Which operations the standing requests refuse, which they make wait, and where: SEMANTICS' rows 2 to 12, class by class.

import HoldfastClient

extension Explanation {
  /// Operations that meet the same requests.
  private enum OperationClass: CaseIterable {
    case overwrite, fill, append, shrink, grow, punch, allocate
  }

  /// Where in a file a class of operations meets a request.
  private enum Place: Equatable {
    case nowhere, everywhere
    case bytes(SealReport.Range)
    /// Truncating to less than so many bytes.
    case below(UInt64)
  }

  /// Who stands in the way of one class of operations.
  private struct Meeting {
    /// From 1 on, as the list above has them.
    var number: Int
    var place: Place
    var request: SealReport
  }

  var operations: [String] {
    guard !requests.isEmpty else { return [] }
    let rows = OperationClass.allCases.filter(isPossible).map { (label($0), verdict(on: $0)) }
    let width = rows.map(\.0.count).max() ?? 0
    var lines = ["now ((N) is the request of that number):"]
    lines += rows.map { "  " + $0.0 + String(repeating: " ", count: width - $0.0.count + 2) + $0.1 }
    lines.append("  reading, fsync, mmap, rename, link, chmod, unlink (blocks are freed later): allowed")
    if requests.contains(where: { !$0.isBreakable }) {
      lines.append("refused: with \"Text file busy\" (ETXTBSY), at once, with nothing changed")
    }
    if requests.contains(where: \.isBreakable) {
      lines.append(
        "waits: until the holder, asked to let go, has done so or is fenced; with O_NONBLOCK \"Resource temporarily "
          + "unavailable\" (EAGAIN) instead; the holder's own operation ends its request and goes on")
    }
    if requests.contains(where: { $0.recallMilliseconds != nil }) {
      lines.append("a recall is under way: until it has ended nobody may seal the file (EAGAIN)")
    }
    return lines
  }

  private func isPossible(_ operation: OperationClass) -> Bool {
    switch operation {
    case .fill: map?.firstDefect(size: size) != nil
    case .shrink: size > 0
    default: true
    }
  }

  private func label(_ operation: OperationClass) -> String {
    switch operation {
    case .overwrite: "overwriting what is written:"
    case .fill: "writing into \(firstGap):"
    case .append: "writing or appending past byte \(size):"
    case .shrink: "truncating to less, opening with O_TRUNC:"
    case .grow: "truncating to more:"
    case .punch: "punching holes, zeroing ranges:"
    case .allocate: "preallocating:"
    }
  }

  private var firstGap: String {
    map?.firstDefect(size: size).map { "\($0.kind.inWords) (the first at byte \($0.offset))" } ?? "holes"
  }

  /// The truth table, for one request.
  private func place(of request: SealReport, for operation: OperationClass) -> Place {
    guard let range = request.range else { return operation == .overwrite ? .nowhere : .everywhere }
    return switch operation {
    case .overwrite, .grow: .nowhere
    case .fill, .punch, .allocate: .bytes(range)
    // What grows gains blocks of its own, unless the pin reaches beyond the last one there is.
    case .append: range.end > blockEnd ? .bytes(range.from(blockEnd)) : .nowhere
    case .shrink: range.end >= size ? .everywhere : .below(range.end)
    }
  }

  /// The end of the block the last byte is in.
  private var blockEnd: UInt64 { (size + 4095) & ~4095 }

  private func verdict(on operation: OperationClass) -> String {
    let meetings = requests.enumerated().map {
      Meeting(number: $0.offset + 1, place: place(of: $0.element, for: operation), request: $0.element)
    }.filter { $0.place != .nowhere }
    let hard = meetings.filter { !$0.request.isBreakable }
    let breakable = meetings.filter { $0.request.isBreakable }
    if hard.contains(where: { $0.place == .everywhere }) {
      return "refused " + Self.numbers(hard.filter { $0.place == .everywhere })
    }
    var parts: [String] = []
    if !hard.isEmpty { parts.append("refused \(Self.places(hard)) \(Self.numbers(hard))") }
    if !breakable.isEmpty {
      let isEverywhere = breakable.contains { $0.place == .everywhere }
      let place = isEverywhere ? (hard.isEmpty ? "" : "elsewhere ") : Self.places(breakable) + " "
      parts.append("\(place)waits up to \(Self.wait(breakable)) for \(Self.numbers(breakable)), then fences it")
    }
    return parts.isEmpty ? "allowed" : parts.joined(separator: "; ")
  }

  /// Numbers and places told one by one.
  private static let maximumTold = 4

  private static func numbers(_ meetings: [Meeting]) -> String {
    let told = meetings.prefix(maximumTold).map { "(\($0.number))" }.joined(separator: " ")
    return meetings.count > maximumTold ? "\(told) and \(meetings.count - maximumTold) more" : told
  }

  /// `in bytes 0 to 4095 and 8192 to 12287`, or `to less than 8192 bytes`.
  private static func places(_ meetings: [Meeting]) -> String {
    var ranges: [Range<UInt64>] = []
    var below: UInt64 = 0
    for meeting in meetings {
      switch meeting.place {
      case .bytes(let range): ranges.append(range.offset..<max(range.end, range.offset))
      case .below(let end): below = max(below, end)
      case .nowhere, .everywhere: break
      }
    }
    if below > 0 { return "to less than \(below) bytes" }
    let merged = HeldRanges.merged(ranges)
    let told = merged.prefix(maximumTold).map { "\($0.lowerBound) to \($0.upperBound - 1)" }.joined(separator: " and ")
    let more = merged.count > maximumTold ? " and \(merged.count - maximumTold) more ranges" : ""
    return "in bytes \(told)\(more)"
  }

  /// The longest any of them may take: what is left of its recall, or its whole grace.
  private static func wait(_ meetings: [Meeting]) -> String {
    let longest = meetings.map { $0.request.recallMilliseconds ?? ($0.request.graceSeconds ?? 0) * 1000 }.max() ?? 0
    return SealReport.text(milliseconds: longest)
  }
}

extension SealReport.Range {
  /// The part of it from `start` on, which lies before its end.
  fileprivate func from(_ start: UInt64) -> Self {
    let offset = max(offset, start)
    return Self(offset: offset, length: end - offset)
  }
}
