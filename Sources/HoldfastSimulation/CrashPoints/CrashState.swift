/// What of the writes in flight a crash leaves. A device may persist, drop, reorder and tear them at will; a sector of
/// 512 bytes is atomic. (Two writes of one place that arrive in the other order leave what dropping the later one leaves.)

/// The fate of one write in flight.
enum WriteFate: Equatable {
  case absent
  case whole
  case torn(Tear)

  enum Tear: CaseIterable {
    /// Only the first sector; all but the first; the first half; every other sector.
    case head, tail, half, comb

    /// Whether sector `index` of `count` arrived.
    func keeps(_ index: Int, of count: Int) -> Bool {
      switch self {
      case .head: index == 0
      case .tail: index > 0
      case .half: index < count / 2
      case .comb: index % 2 == 1
      }
    }
  }
}

extension WriteFate: CustomStringConvertible {
  var description: String {
    switch self {
    case .absent: "lost"
    case .whole: "whole"
    case .torn(let tear): "torn (\(tear))"
    }
  }
}

enum CrashStates {
  /// Up to this many writes in flight every subset is tried: 32.
  static let exhaustiveWrites = 5
  /// Of more: none, all, every prefix, each alone there, each alone missing, and this many drawn by seed.
  static let sampledStates = 24

  /// Fates of `count` writes in flight. With `newest` only those in which the last one left a trace: the others were
  /// tried before it was written.
  static func fates(_ count: Int, newest: Bool, _ random: inout SeededRandom) -> [[WriteFate]] {
    var all: [[WriteFate]] = []
    if count <= exhaustiveWrites {
      for bits in 0..<(1 << count) { all.append((0..<count).map { bits >> $0 & 1 == 1 ? .whole : .absent }) }
    } else {
      all += (0...count).map { prefix in (0..<count).map { $0 < prefix ? .whole : .absent } }
      for one in 0..<count {
        all.append((0..<count).map { $0 == one ? .whole : .absent })
        all.append((0..<count).map { $0 == one ? .absent : .whole })
      }
      for _ in 0..<sampledStates {
        all.append(
          (0..<count).map { _ in
            random.oneIn(4) ? .torn(random.pick(WriteFate.Tear.allCases)) : random.oneIn(2) ? .whole : .absent
          })
      }
    }
    // Each one torn: alone, behind those before it, with all others.
    for one in 0..<count {
      for tear in WriteFate.Tear.allCases {
        for others in 0..<3 {
          all.append(
            (0..<count).map { index in
              if index == one { return .torn(tear) }
              return others == 2 || (others == 1 && index < one) ? .whole : .absent
            })
        }
      }
    }
    return newest ? all.filter { $0.last != .absent } : all
  }
}
