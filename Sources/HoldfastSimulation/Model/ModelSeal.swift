/// A standing request of the model.

public struct ModelSeal: Equatable, Sendable {
  public enum Holder: Equatable, Sendable {
    /// An open handle, by its serial number: dies with it.
    case handle(Int)
    /// A user's name: until removed or unmounted.
    case user(UInt32)
    /// The same, and it survives remount.
    case persistent(UInt32)
    /// A process, by slot: dies with it.
    case process(Int, user: UInt32)
  }
  public var holder: Holder
  public var name: Int
  public var isBreakable = false
  /// What a pin holds; nil for the whole file.
  public var blocks: Range<UInt64>?
  /// It was asked to let go.
  public var isRecalled = false
  /// Of this taking, never used twice; 0 in what a target tells.
  public var serial = 0

  public init(holder: Holder, name: Int, isBreakable: Bool = false, blocks: Range<UInt64>? = nil) {
    self.holder = holder
    self.name = name
    self.isBreakable = isBreakable
    self.blocks = blocks
  }

  /// Whether a request of `user` by this name is this one (rule 10).
  func isOf(user: UInt32, name: Int) -> Bool {
    guard name == self.name else { return false }
    switch holder {
    case .handle: return false
    case .user(let uid), .persistent(let uid), .process(_, let uid): return uid == user
    }
  }

  /// Whether it is that handle's of this name and these blocks: pins of one handle stand beside each other.
  func isOf(handle serial: Int, name: Int, blocks: Range<UInt64>?) -> Bool {
    holder == .handle(serial) && name == self.name && blocks == self.blocks
  }

  var isPersistent: Bool { if case .persistent = holder { true } else { false } }

  /// As a mount finds its record.
  var restored: ModelSeal {
    var seal = self
    seal.isRecalled = false
    seal.serial = 0
    return seal
  }
}
