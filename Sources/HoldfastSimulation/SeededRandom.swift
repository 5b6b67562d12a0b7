/// The one source of randomness of every simulated run: xoshiro256** seeded by SplitMix64 (Blackman, Vigna).
/// The same seed gives the same run on every machine.

public struct SeededRandom: RandomNumberGenerator, Sendable {
  private var a: UInt64
  private var b: UInt64
  private var c: UInt64
  private var d: UInt64

  public init(seed: UInt64) {
    var state = seed
    func next() -> UInt64 {
      state &+= 0x9e37_79b9_7f4a_7c15
      return SeededRandom.mix(state)
    }
    a = next()
    b = next()
    c = next()
    d = next()
  }

  /// A generator of its own for part `index` of a run, independent of its siblings.
  public init(seed: UInt64, part index: Int) {
    self.init(seed: SeededRandom.mix(seed &+ 0x632b_e59b_d9b4_e019 &* UInt64(index + 1)))
  }

  /// SplitMix64's finalizer: a bijection of 64-bit words without visible pattern.
  @inline(__always) public static func mix(_ word: UInt64) -> UInt64 {
    var z = word
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// The inverse of `mix`.
  public static func unmix(_ word: UInt64) -> UInt64 {
    var z = word
    z = (z ^ (z >> 31) ^ (z >> 62)) &* 0x3196_42b2_d24d_8ec3
    z = (z ^ (z >> 27) ^ (z >> 54)) &* 0x96de_1b17_3f11_9089
    return z ^ (z >> 30) ^ (z >> 60)
  }

  @inline(__always) public mutating func next() -> UInt64 {
    let result = rotate(b &* 5, 7) &* 9
    let t = b << 17
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= t
    d = rotate(d, 45)
    return result
  }

  @inline(__always) private func rotate(_ x: UInt64, _ k: UInt64) -> UInt64 { (x << k) | (x >> (64 - k)) }

  /// 0 ..< bound, near enough even; 0 when bound is 0.
  @inline(__always) public mutating func below(_ bound: Int) -> Int {
    bound <= 0 ? 0 : Int(next().multipliedFullWidth(by: UInt64(bound)).high)
  }

  /// low ... high.
  public mutating func between(_ low: Int, _ high: Int) -> Int { low + below(high - low + 1) }

  /// True once in `n` times.
  public mutating func oneIn(_ n: Int) -> Bool { below(n) == 0 }

  public mutating func pick<Element>(_ elements: [Element]) -> Element { elements[below(elements.count)] }
}
