/// The reference model's metadata: what stat, readdir, listxattr and readlink must tell. Nodes are keyed by the
/// inode number the filesystem gave them, so that a recovered filesystem can be compared node by node.
///
/// Every change is a list of `Effect`s. Metadata at any point since the last durable one can be rebuilt by
/// applying effects to the durable metadata: that is how the state after a crash is recognised.

public typealias NodeID = UInt64

public struct ModelNode: Equatable, Sendable {
  public enum Kind: Equatable, Sendable { case file, directory, symlink }
  public var kind: Kind
  /// Permission bits.
  public var mode: UInt32
  /// Names; of a directory not counted.
  public var links: UInt32
  /// Bytes; of files only.
  public var size: UInt64 = 0
  /// Of directories: name number to node.
  public var entries: [Int: NodeID] = [:]
  public var parent: NodeID = 0
  public var xattrs: [Int: ValueDigest] = [:]
  public var target: ValueDigest?

  public init(_ kind: Kind, mode: UInt32, links: UInt32 = 1) {
    self.kind = kind
    self.mode = mode
    self.links = links
  }
}

public struct ModelMetadata: Equatable, Sendable {
  public enum Effect: Equatable, Sendable {
    case make(NodeID, ModelNode)
    case drop(NodeID)
    case enter(directory: NodeID, name: Int, node: NodeID)
    case leave(directory: NodeID, name: Int)
    case links(NodeID, UInt32)
    case parent(NodeID, NodeID)
    case size(NodeID, UInt64)
    case mode(NodeID, UInt32)
    case xattr(NodeID, name: Int, ValueDigest?)

    /// The node whose comparison the effect can change.
    var node: NodeID {
      switch self {
      case .make(let id, _), .drop(let id), .links(let id, _), .parent(let id, _), .size(let id, _), .mode(let id, _),
        .xattr(let id, _, _):
        id
      case .enter(let directory, _, _), .leave(let directory, _): directory
      }
    }
  }

  public var root: NodeID
  public var nodes: [NodeID: ModelNode]

  public init(root: NodeID, mode: UInt32) {
    self.root = root
    nodes = [root: ModelNode(.directory, mode: mode)]
  }

  public mutating func apply(_ effect: Effect) {
    switch effect {
    case .make(let id, let node): nodes[id] = node
    case .drop(let id): nodes[id] = nil
    case .enter(let directory, let name, let node): nodes[directory]?.entries[name] = node
    case .leave(let directory, let name): nodes[directory]?.entries[name] = nil
    case .links(let id, let count): nodes[id]?.links = count
    case .parent(let id, let parent): nodes[id]?.parent = parent
    case .size(let id, let size): nodes[id]?.size = size
    case .mode(let id, let mode): nodes[id]?.mode = mode
    case .xattr(let id, let name, let value): nodes[id]?.xattrs[name] = value
    }
  }

  /// What a crash leaves of this state: files without names are gone.
  public var withoutOrphans: ModelMetadata {
    var result = self
    for (id, node) in nodes where id != root && node.links == 0 { result.nodes[id] = nil }
    return result
  }

  /// The first difference to `other`, in words; nil when equal.
  public func difference(from other: ModelMetadata) -> String? {
    for (id, node) in nodes.sorted(by: { $0.key < $1.key }) {
      guard let theirs = other.nodes[id] else { return "inode \(id) (\(node.kind), \(node.size) bytes) is missing" }
      if let difference = node.difference(from: theirs) { return "inode \(id): \(difference)" }
    }
    for id in other.nodes.keys.sorted() where nodes[id] == nil { return "inode \(id) should not exist" }
    return nil
  }
}

extension ModelNode {
  /// The first difference of an observed node from this one, in words.
  func difference(from observed: ModelNode) -> String? {
    if kind != observed.kind { return "expected a \(kind), found a \(observed.kind)" }
    if size != observed.size { return "expected \(size) bytes, found \(observed.size)" }
    if links != observed.links { return "expected \(links) links, found \(observed.links)" }
    if mode != observed.mode {
      return "expected mode \(String(mode, radix: 8)), found \(String(observed.mode, radix: 8))"
    }
    if parent != observed.parent { return "expected parent \(parent), found \(observed.parent)" }
    for (name, node) in entries.sorted(by: { $0.key < $1.key }) where observed.entries[name] != node {
      return "name \(name) should be inode \(node), is \(observed.entries[name].map(String.init) ?? "missing")"
    }
    for (name, node) in observed.entries.sorted(by: { $0.key < $1.key }) where entries[name] == nil {
      return "name \(name) (inode \(node)) should not exist"
    }
    for (name, value) in xattrs where observed.xattrs[name] != value {
      return
        "attribute \(name) of \(value.count) bytes is \(observed.xattrs[name].map { "\($0.count) other bytes" } ?? "missing")"
    }
    for name in observed.xattrs.keys where xattrs[name] == nil { return "attribute \(name) should not exist" }
    return target == observed.target ? nil : "another symlink target"
  }
}
