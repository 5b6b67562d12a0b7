/// Everything the store tells of itself, and what the independent check says of its image.

import HoldfastBase
import HoldfastCheck
import HoldfastFormat
import HoldfastStore

extension StoreTarget {
  func observe(_ model: ModelFilesystem) throws(StressFailure) -> ModelMetadata {
    try observe(allowingStrangers: false)
  }

  /// Names that no operation makes are passed over, or a failure.
  func observe(allowingStrangers: Bool) throws(StressFailure) -> ModelMetadata {
    var strangers: [String] = []
    var observed = ModelMetadata(root: RootDirectory.inode, mode: 0)
    do throws(FSError) {
      let root = try store.attributes(of: RootDirectory.inode)
      observed = ModelMetadata(root: root.inode, mode: root.record.mode & 0o7777)
      var pending = [root.inode]
      while let directory = pending.popLast() {
        try list(directory)
        strangers += results.strangers
        let entries = results.entries
        observed.nodes[directory]?.entries = entries
        for inode in entries.values.sorted() where observed.nodes[inode] == nil {
          let node = try node(inode)
          observed.nodes[inode] = node
          if node.kind == .directory { pending.append(inode) }
        }
      }
    } catch {
      throw failure(.recovery, "reading everything", error)
    }
    if let stranger = strangers.first, !allowingStrangers {
      throw StressFailure(.recovery, "a directory lists \(stranger)")
    }
    return observed
  }

  private func node(_ inode: InodeNumber) throws(FSError) -> ModelNode {
    let record = try store.attributes(of: inode).record
    var node = ModelNode(observing: record)
    switch node.kind {
    case .directory: node.parent = record.parent
    case .symlink: node.target = ValueDigest(try store.readSymlink(inode))
    case .file: break
    }
    for name in 0..<6 {
      do throws(FSError) {
        node.xattrs[name] = ValueDigest(try store.xattr(xattrName(name), of: inode))
      } catch {
        guard error == .noData else { throw error }
      }
    }
    return node
  }

  func readWhole(_ node: NodeID, size: Int, _ model: ModelFilesystem) throws(StressFailure) {
    do throws(FSError) {
      results.count = try store.read(node, into: results.buffer, at: 0)
    } catch {
      throw failure(.recovery, "reading inode \(node)", error)
    }
  }

  /// The independent reader's word on the image as it lies there.
  func check(_ occasion: String, expectingClean: Bool) throws(StressFailure) {
    if checks && !isDamaged { try Self.check(device, occasion, expectingClean: expectingClean) }
  }

  static func check(_ device: SimulatedDevice, _ occasion: String, expectingClean: Bool) throws(StressFailure) {
    var checker = Checker(device: device)
    let report = checker.run()
    guard report.isSound else {
      throw StressFailure(
        .check,
        "\(occasion): \(report.outcome), \(report.issueCount) issues: "
          + report.issues.prefix(5).map { "\($0.message)" }.joined(separator: "; "))
    }
    if expectingClean && report.wasUnclean { throw StressFailure(.check, "\(occasion): the volume is not clean") }
  }
}
