/// The numbers of the program's table that are ours, in memory a child keeps: it has the descriptors, too, and closes
/// them first of all.

import CPreload
import Synchronization

enum OwnNumbers {
  /// More stay open in children.
  private static let capacity = 512

  private static func slots() -> UnsafeMutablePointer<Atomic<Int32>>? {
    let there = address.load(ordering: .acquiring)
    if there != 0 { return UnsafeMutablePointer(bitPattern: there) }
    let memory = holdfast_direct_map(0, capacity * 4, PROT_READ | PROT_WRITE, holdfast_map_reserve, -1, 0)
    guard memory > 0 else { return nil }
    let (isFirst, other) = address.compareExchange(
      expected: 0, desired: UInt(memory), ordering: .acquiringAndReleasing)
    if isFirst { return UnsafeMutablePointer(bitPattern: UInt(memory)) }
    _ = holdfast_direct_unmap(UInt(memory), capacity * 4)
    return UnsafeMutablePointer(bitPattern: other)
  }

  static func add(_ number: Int32) {
    guard let slots = slots() else { return }
    for index in 0..<capacity
    where slots[index].compareExchange(expected: 0, desired: number + 1, ordering: .relaxed).exchanged { return }
  }

  static func remove(_ number: Int32) {
    guard let slots = slots() else { return }
    for index in 0..<capacity
    where slots[index].compareExchange(expected: number + 1, desired: 0, ordering: .relaxed).exchanged { return }
  }

  static func closeAll() {
    guard address.load(ordering: .acquiring) != 0, let slots = slots() else { return }
    for index in 0..<capacity {
      let number = slots[index].exchange(0, ordering: .relaxed)
      if number > 0 { holdfast_direct_close(number - 1) }
    }
  }
}

/// Of the list; 0 before it is needed.
private let address = Atomic<UInt>(0)
