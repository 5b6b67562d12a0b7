/// Slots in no order, each added and removed in O(1). Part of `RequestIndex`.

struct SlotSet {
  private(set) var slots: [Int] = []
  /// Where each slot lies in `slots`.
  private var positions: [Int: Int] = [:]

  var isEmpty: Bool { slots.isEmpty }
  var count: Int { slots.count }
  var first: Int? { slots.first }

  mutating func insert(_ slot: Int) {
    let previous = positions.updateValue(slots.count, forKey: slot)
    precondition(previous == nil, "slot \(slot) is in the set already")
    slots.append(slot)
  }

  mutating func remove(_ slot: Int) {
    let position = positions.removeValue(forKey: slot)!
    let last = slots.removeLast()
    if last != slot {
      slots[position] = last
      positions[last] = position
    }
  }
}
