/// The ioctls that say where blocks lie: PREPARE and DEFRAG. Map changes like a write, which wait for holders as one
/// does; long ones, which end between two steps when a signal comes.

import CHoldfast
import HoldfastBase
import HoldfastSeal
import HoldfastStore

extension MountSession {
  struct PrepareCall: MapChangingCall, @unchecked Sendable {
    typealias Answer = Control
    var inode: InodeNumber
    var handle: UInt64
    var argument: holdfast_prepare
    var caller: Credentials
    var operation: Operation { .ioctl }
    var isLong: Bool { true }

    init(_ call: ControlCall) throws(FSError) {
      inode = call.inode
      handle = call.handle
      caller = call.caller
      argument = try call.argument(holdfast_prepare.self)
      guard argument.flags & ~UInt32(HOLDFAST_PREPARE_CONTIGUOUS) == 0, argument.offset <= Limits.fileBytes,
        argument.length <= Limits.fileBytes - argument.offset, Store.isExtentSize(argument.alignment),
        isContiguous || argument.alignment == 0
      else { throw .invalid(.argument) }
    }

    private var isContiguous: Bool { argument.flags & UInt32(HOLDFAST_PREPARE_CONTIGUOUS) != 0 }

    func make(in session: MountSession) throws(FSError) -> holdfast_prepare {
      try make(in: session, while: { true })
    }

    func make(in session: MountSession, while going: () -> Bool) throws(FSError) -> holdfast_prepare {
      guard let opened = session.handles[handle], opened.isWriting else { throw .badHandle }
      try session.checkNotReadOnly()
      defer { session.notifier.invalidateAttributes(of: inode) }
      let caller = session.caller(caller, changing: inode)
      let waits = session.waits(handle)
      guard isContiguous else {
        try session.store.prepare(
          inode, offset: argument.offset, byteCount: argument.length, handle: handle, by: caller, waits: waits)
        return argument
      }
      let report = try session.store.prepareContiguously(
        inode, offset: argument.offset, byteCount: argument.length,
        alignment: max(argument.alignment >> UInt64(Block.shift), 1), handle: handle, by: caller, waits: waits,
        while: going)
      return answer(report)
    }

    private func answer(_ report: ContiguityReport) -> holdfast_prepare {
      let bytes = { (blocks: UInt64) in blocks << UInt64(Block.shift) }
      var answer = argument
      answer.fulfilled = report.isFulfilled ? 1 : 0
      answer.fragments = report.fragments
      answer.longest = bytes(report.longestBlocks)
      answer.longest_free = bytes(report.longestFreeBlocks)
      answer.moved = bytes(report.movedBlocks)
      answer.evacuated = bytes(report.evacuatedBlocks)
      guard !report.isFulfilled else { return answer }
      answer.obstacles = report.obstacles.rawValue
      if let refusal = report.refusal {
        answer.obstacle_inode = refusal.inode
        Text.set(&answer.obstacle_name, to: refusal.requestName)
      }
      return answer
    }

    func answer(_ reply: consuming Reply<Control>, _ result: holdfast_prepare, in session: MountSession) {
      reply.send(ControlAnswer(result).bytes, result: 0)
    }
  }

  struct DefragmentCall: MapChangingCall, @unchecked Sendable {
    typealias Answer = Control
    var inode: InodeNumber
    var handle: UInt64
    var argument: holdfast_defrag
    var caller: Credentials
    var operation: Operation { .ioctl }
    var isLong: Bool { true }

    init(_ call: ControlCall) throws(FSError) {
      inode = call.inode
      handle = call.handle
      caller = call.caller
      argument = try call.argument(holdfast_defrag.self)
      guard argument.flags & ~UInt32(HOLDFAST_DEFRAG_SKIP_HELD) == 0, argument.offset <= Limits.fileBytes,
        argument.length <= Limits.fileBytes - argument.offset
      else { throw .invalid(.argument) }
    }

    func make(in session: MountSession) throws(FSError) -> holdfast_defrag { try make(in: session, while: { true }) }

    func make(in session: MountSession, while going: () -> Bool) throws(FSError) -> holdfast_defrag {
      let record = try session.store.attributes(of: inode).record
      guard record.isRegular else { throw .invalid(.argument) }
      guard session.handles[handle]?.isWriting == true || caller.uid == record.uid || session.isAdministrator(caller)
      else { throw .notPermitted }
      try session.checkNotReadOnly()
      let isSkipping = argument.flags & UInt32(HOLDFAST_DEFRAG_SKIP_HELD) != 0
      let actor = Actor(
        credentials: session.caller(caller, changing: inode), handle: isSkipping ? nil : handle,
        background: isSkipping, waits: session.waits(handle))
      let length = argument.length == 0 ? Limits.fileBytes - argument.offset : argument.length
      defer { session.notifier.invalidateAttributes(of: inode) }
      let report = try session.store.defragment(
        inode, .covering(byteOffset: argument.offset, byteCount: length), by: actor, while: going)
      var answer = argument
      answer.fragments_before = report.fragmentsBefore
      answer.fragments_after = report.fragmentsAfter
      answer.moved = report.relocation.movedBlocks << UInt64(Block.shift)
      answer.skipped = report.relocation.skippedBlocks << UInt64(Block.shift)
      answer.unplaced = report.relocation.unplacedBlocks << UInt64(Block.shift)
      if let refusal = report.relocation.refusal {
        answer.obstacle_uid = refusal.uid
        answer.obstacle_pid = refusal.pid
        Text.set(&answer.obstacle_name, to: refusal.requestName)
      }
      return answer
    }

    func answer(_ reply: consuming Reply<Control>, _ result: holdfast_defrag, in session: MountSession) {
      reply.send(ControlAnswer(result).bytes, result: 0)
    }
  }
}

extension Text {
  /// What fits beside the NUL; the rest stays zero.
  static func set<Characters>(_ characters: inout Characters, to text: String) {
    withUnsafeMutableBytes(of: &characters) { bytes in
      bytes.copyBytes(from: Array(text.utf8.prefix(bytes.count - 1)))
    }
  }
}
