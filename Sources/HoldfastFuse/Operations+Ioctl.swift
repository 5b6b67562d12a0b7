/// Control by ioctl: which command it is, and the shape every one of ours has: a structure that begins with its
/// version, in and out. What the commands do is in Controls+*.swift.
///
/// The kernel has copied in as many bytes as the command's number encodes, and copies out what we answer, with an
/// error too.

import CFuse3
import CHoldfast
import Glibc
import HoldfastBase
import HoldfastStore

/// One ioctl(2) on an open file.
struct ControlCall {
  var inode: InodeNumber
  /// The handle it came through.
  var handle: UInt64
  var input: UnsafeRawBufferPointer
  var caller: Credentials

  /// The structure passed in, if it has our version.
  func argument<Structure>(_ type: Structure.Type) throws(FSError) -> Structure {
    guard input.count == MemoryLayout<Structure>.size, let start = input.baseAddress,
      start.loadUnaligned(as: UInt32.self) == UInt32(HOLDFAST_ABI_VERSION)
    else { throw .invalid(.argument) }
    return start.loadUnaligned(as: Structure.self)
  }
}

/// What goes back: bytes of a structure, and an error if there is one to tell besides.
struct ControlAnswer {
  var bytes: [UInt8]
  var error: FSError?

  init() { bytes = [] }
  init(_ bytes: [UInt8]) { self.bytes = bytes }

  init<Structure>(_ structure: Structure, error: FSError? = nil) {
    bytes = withUnsafeBytes(of: structure) { Array($0) }
    self.error = error
  }
}

extension MountSession {
  static func addControlOperations(to operations: inout fuse_lowlevel_ops) {
    operations.ioctl = { request, inode, command, _, info, _, input, inputBytes, _ in
      let session = serving(request)
      let reply = Reply<Control>(request)
      let call = ControlCall(
        inode: inode, handle: info!.pointee.fh, input: UnsafeRawBufferPointer(start: input, count: inputBytes),
        caller: reply.caller)
      switch command {
      case holdfast_ioc_prepare: session.perform(reply, call, PrepareCall.init)
      case holdfast_ioc_defrag: session.perform(reply, call, DefragmentCall.init)
      case holdfast_ioc_layout_return: session.perform(reply, call, LayoutReturnCall.init)
      case holdfast_ioc_layout_get: session.getLayout(reply, call)
      case holdfast_ioc_resize: session.resize(reply, call)
      default: session.control(reply, command: command, call)
      }
    }
  }

  /// One of those that may have to wait.
  private func perform<Call: MapChangingCall>(
    _ reply: consuming Reply<Control>, _ call: ControlCall, _ parse: (ControlCall) throws(FSError) -> Call
  ) where Call.Answer == Control {
    let parsed: Call
    do throws(FSError) {
      parsed = try parse(call)
    } catch {
      counters.count(.ioctl)
      fail(reply, error, .ioctl, call.inode)
      return
    }
    perform(parsed, reply)
  }

  private func control(_ reply: consuming Reply<Control>, command: UInt32, _ call: ControlCall) {
    counters.count(.ioctl)
    do throws(FSError) {
      guard let answer = try answer(command, call) else {
        counters.countFailure(.ioctl)
        reply.fail(errno: ENOTTY)
        return
      }
      send(answer, reply, of: call.inode)
    } catch {
      fail(reply, error, .ioctl, call.inode)
    }
  }

  /// nil for a command that is not ours to know.
  func answer(_ command: UInt32, _ call: ControlCall) throws(FSError) -> ControlAnswer? {
    switch command {
    case holdfast_ioc_seal: try take(call, pin: false)
    case holdfast_ioc_unseal: try release(call, pin: false)
    case holdfast_ioc_pin: try take(call, pin: true)
    case holdfast_ioc_unpin: try release(call, pin: true)
    case holdfast_ioc_recall_status: try recallStatus(call)
    case holdfast_ioc_holders: try page(call) { store.seals.holdersJSON(of: call.inode) }
    case holdfast_ioc_seals: try page(call) { store.seals.allHoldersJSON() }
    case holdfast_ioc_info: try page(call) { informationJSON() }
    case holdfast_ioc_map: try map(call)
    case holdfast_ioc_revoke: try revoke(call)
    case holdfast_ioc_sync: try syncAll(call)
    case holdfast_ioc_remount: try remount(call)
    case holdfast_fs_ioc_getflags: try getFlags(call)
    case holdfast_fs_ioc_setflags: try setFlags(call)
    case holdfast_fs_ioc_fsgetxattr: try getExtendedFlags(call)
    case holdfast_fs_ioc_fssetxattr: try setExtendedFlags(call)
    default: nil
    }
  }
}
