/// The pinned ranges of one file, for finding those that overlap a change without looking at the others: a treap by
/// first block, each node with the greatest end below it. Adding, removing and finding one overlap cost
/// O(log n), finding all k of them O(k log n). Ranges may be equal, overlap and nest. Part of `RequestIndex`.

import HoldfastBase

struct IntervalIndex {
  private struct Node {
    var range: BlockRange
    var slot: Int
    /// Greatest `range.end` of this node and all below.
    var greatestEnd: BlockNumber
    /// No child's is higher. Drawn from the slot, so that a run can be repeated.
    var priority: UInt64
    var left = IntervalIndex.none
    var right = IntervalIndex.none
  }

  private static let none = -1

  private var nodes: [Node] = []
  private var freeNodes: [Int] = []
  private var root = IntervalIndex.none

  var isEmpty: Bool { root == Self.none }
  var count: Int { nodes.count - freeNodes.count }

  /// - Precondition: `range` is not empty, and (`range`, `slot`) is not in the index.
  mutating func insert(_ range: BlockRange, _ slot: Int) {
    precondition(!range.isEmpty)
    let node = Node(range: range, slot: slot, greatestEnd: range.end, priority: Self.priority(slot))
    let new: Int
    if let free = freeNodes.popLast() {
      new = free
      nodes[new] = node
    } else {
      new = nodes.count
      nodes.append(node)
    }
    root = insert(new, below: root)
  }

  /// - Precondition: (`range`, `slot`) is in the index.
  mutating func remove(_ range: BlockRange, _ slot: Int) { root = remove(range, slot, below: root) }

  /// Any slot whose range overlaps `range`.
  func firstOverlap(_ range: BlockRange) -> Int? {
    var found: Int?
    forEachOverlap(range) { slot in
      found = slot
      return false
    }
    return found
  }

  /// Calls `body` with every slot whose range overlaps `range`, by first block, until it returns false.
  func forEachOverlap(_ range: BlockRange, _ body: (Int) -> Bool) {
    if !range.isEmpty { _ = visit(root, range, body) }
  }

  /// False when `body` wants no more.
  private func visit(_ at: Int, _ range: BlockRange, _ body: (Int) -> Bool) -> Bool {
    guard at != Self.none, nodes[at].greatestEnd > range.start else { return true }
    guard visit(nodes[at].left, range, body) else { return false }
    // Everything further right begins behind the range as well.
    guard nodes[at].range.start < range.end else { return true }
    if nodes[at].range.end > range.start, !body(nodes[at].slot) { return false }
    return visit(nodes[at].right, range, body)
  }

  // MARK: The treap

  private static func priority(_ slot: Int) -> UInt64 {
    // splitmix64's finaliser: neighbouring slots get priorities far apart.
    var x = UInt64(bitPattern: Int64(slot)) &+ 0x9e37_79b9_7f4a_7c15
    x = (x ^ x >> 30) &* 0xbf58_476d_1ce4_e5b9
    x = (x ^ x >> 27) &* 0x94d0_49bb_1331_11eb
    return x ^ x >> 31
  }

  private func isBefore(_ range: BlockRange, _ slot: Int, _ other: Int) -> Bool {
    (range.start, slot) < (nodes[other].range.start, nodes[other].slot)
  }

  private mutating func update(_ at: Int) {
    let (left, right) = (nodes[at].left, nodes[at].right)
    var end = nodes[at].range.end
    if left != Self.none { end = max(end, nodes[left].greatestEnd) }
    if right != Self.none { end = max(end, nodes[right].greatestEnd) }
    nodes[at].greatestEnd = end
  }

  private mutating func rotateRight(_ at: Int) -> Int {
    let up = nodes[at].left
    nodes[at].left = nodes[up].right
    nodes[up].right = at
    update(at)
    update(up)
    return up
  }

  private mutating func rotateLeft(_ at: Int) -> Int {
    let up = nodes[at].right
    nodes[at].right = nodes[up].left
    nodes[up].left = at
    update(at)
    update(up)
    return up
  }

  /// The new root of the part below `at`.
  private mutating func insert(_ new: Int, below at: Int) -> Int {
    guard at != Self.none else { return new }
    if isBefore(nodes[new].range, nodes[new].slot, at) {
      nodes[at].left = insert(new, below: nodes[at].left)
      if nodes[nodes[at].left].priority > nodes[at].priority { return rotateRight(at) }
    } else {
      nodes[at].right = insert(new, below: nodes[at].right)
      if nodes[nodes[at].right].priority > nodes[at].priority { return rotateLeft(at) }
    }
    update(at)
    return at
  }

  private mutating func remove(_ range: BlockRange, _ slot: Int, below at: Int) -> Int {
    precondition(at != Self.none, "no such range in the index")
    if nodes[at].slot == slot, nodes[at].range == range {
      let rest = join(nodes[at].left, nodes[at].right)
      freeNodes.append(at)
      return rest
    }
    if isBefore(range, slot, at) {
      nodes[at].left = remove(range, slot, below: nodes[at].left)
    } else {
      nodes[at].right = remove(range, slot, below: nodes[at].right)
    }
    update(at)
    return at
  }

  /// One tree of two, everything in `left` before everything in `right`.
  private mutating func join(_ left: Int, _ right: Int) -> Int {
    guard left != Self.none else { return right }
    guard right != Self.none else { return left }
    if nodes[left].priority > nodes[right].priority {
      nodes[left].right = join(nodes[left].right, right)
      update(left)
      return left
    }
    nodes[right].left = join(left, nodes[right].left)
    update(right)
    return right
  }
}
