/// lsattr, chattr and xfs_io's lsattr: FS_IOC_GETFLAGS and SETFLAGS with a word of flags, FS_IOC_FSGETXATTR and
/// FSSETXATTR with `struct fsxattr`. Rights are the Store's to check.
///
/// The kernel opens the file for these calls by itself and keeps its attributes; they changed (ctime), so it is told.

import CFuse3
import CHoldfast
import HoldfastBase
import HoldfastFormat
import HoldfastStore

extension MountSession {
  func getFlags(_ call: ControlCall) throws(FSError) -> ControlAnswer {
    let flags = try store.attributes(of: call.inode).record.flags.intersection(.userVisible)
    return ControlAnswer(flags.rawValue)
  }

  func setFlags(_ call: ControlCall) throws(FSError) -> ControlAnswer {
    guard call.input.count >= 4, let input = call.input.baseAddress else { throw .invalid(.argument) }
    let wanted = InodeFlags(rawValue: input.loadUnaligned(as: UInt32.self))
    guard wanted.isSubset(of: .userVisible) else { throw .unsupported }
    try change(call, to: wanted)
    return ControlAnswer()
  }

  func getExtendedFlags(_ call: ControlCall) throws(FSError) -> ControlAnswer {
    let record = try store.attributes(of: call.inode).record
    var answer = fsxattr()
    answer.fsx_xflags = ExtendedFlags(record.flags).rawValue
    if record.extentSizeHint > 0, record.isRegular || record.isDirectory {
      answer.fsx_xflags |= (record.isDirectory ? ExtendedFlags.inheritsExtentSize : .extentSize).rawValue
      answer.fsx_extsize = UInt32(clamping: UInt64(record.extentSizeHint) << UInt64(Block.shift))
    }
    if record.isRegular {
      answer.fsx_nextents = try extentCount(of: call.inode)
    }
    return ControlAnswer(answer)
  }

  /// A page at a time, as others want the tree meanwhile.
  private func extentCount(of inode: InodeNumber) throws(FSError) -> UInt32 {
    var count = 0
    var offset: UInt64 = 0
    while true {
      let extents = try store.extents(of: inode, from: offset, limit: Int(HOLDFAST_MAP_EXTENTS))
      guard let last = extents.last else { return UInt32(clamping: count) }
      count += extents.count
      offset = last.logical + last.length
    }
  }

  func setExtendedFlags(_ call: ControlCall) throws(FSError) -> ControlAnswer {
    guard call.input.count == MemoryLayout<fsxattr>.size, let input = call.input.baseAddress else {
      throw .invalid(.argument)
    }
    let argument = input.loadUnaligned(as: fsxattr.self)
    let extended = ExtendedFlags(rawValue: argument.fsx_xflags)
    guard extended.isSubset(of: .known) else { throw .unsupported }
    guard argument.fsx_projid == 0, argument.fsx_cowextsize == 0 else { throw .unsupported }
    let record = try store.attributes(of: call.inode).record
    let hint: ExtendedFlags = record.isDirectory ? .inheritsExtentSize : .extentSize
    // As XFS: the number counts while its flag is set.
    let bytes = extended.contains(hint) ? UInt64(argument.fsx_extsize) : 0
    guard Store.isExtentSize(bytes),
      extended.isDisjoint(with: [.extentSize, .inheritsExtentSize]) || extended.contains(hint)
    else { throw .invalid(.argument) }
    if bytes != UInt64(record.extentSizeHint) << UInt64(Block.shift) {
      try store.setExtentSize(bytes, of: call.inode, by: call.caller)
    }
    try change(call, to: InodeFlags(extended))
    return ControlAnswer()
  }

  private func change(_ call: ControlCall, to wanted: InodeFlags) throws(FSError) {
    try store.setFlags(wanted, of: call.inode, by: call.caller)
    notifier.invalidateAttributes(of: call.inode)
  }
}

/// FS_XFLAG_* of <linux/fs.h>.
private struct ExtendedFlags: OptionSet {
  let rawValue: UInt32
  static let immutable = ExtendedFlags(rawValue: 0x08)
  static let append = ExtendedFlags(rawValue: 0x10)
  static let synchronous = ExtendedFlags(rawValue: 0x20)
  static let noAccessTime = ExtendedFlags(rawValue: 0x40)
  static let noDump = ExtendedFlags(rawValue: 0x80)
  static let extentSize = ExtendedFlags(rawValue: 0x800)
  static let inheritsExtentSize = ExtendedFlags(rawValue: 0x1000)
  static let known: ExtendedFlags = [
    .immutable, .append, .synchronous, .noAccessTime, .noDump, .extentSize, .inheritsExtentSize,
  ]
}

extension ExtendedFlags {
  private static let pairs: [(ExtendedFlags, InodeFlags)] = [
    (.immutable, .immutable), (.append, .appendOnly), (.synchronous, .synchronous), (.noAccessTime, .noAccessTime),
    (.noDump, .noDump),
  ]

  init(_ flags: InodeFlags) {
    self = []
    for (extended, flag) in Self.pairs where flags.contains(flag) { insert(extended) }
  }

  var inodeFlags: InodeFlags {
    var flags: InodeFlags = []
    for (extended, flag) in Self.pairs where contains(extended) { flags.insert(flag) }
    return flags
  }
}

extension InodeFlags {
  fileprivate init(_ extended: ExtendedFlags) { self = extended.inodeFlags }
}
