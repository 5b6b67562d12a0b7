/// libfuse's session over our descriptor, with our own read and write of it (see KernelTransport).
///
/// Owns: the session, which owns the descriptor, and a reference to the MountSession that requests carry.

import CFuse3
import Glibc

struct FuseConnection {
  let handle: OpaquePointer
  private let userdata: Unmanaged<MountSession>

  init(_ session: MountSession, descriptor: Int32) throws(MountError) {
    var operations = fuse_lowlevel_ops()
    operations.`init` = { _, connection in MountSession.negotiate(connection!) }
    MountSession.addNamespaceOperations(to: &operations)
    MountSession.addDirectoryOperations(to: &operations)
    MountSession.addAttributeOperations(to: &operations)
    MountSession.addFileOperations(to: &operations)
    MountSession.addAllocationOperations(to: &operations)
    MountSession.addXattrOperations(to: &operations)
    MountSession.addControlOperations(to: &operations)
    MountSession.addBlockOperations(to: &operations)
    userdata = Unmanaged.passRetained(session)
    guard let handle = holdfast_session_new(&operations, userdata.toOpaque()) else {
      userdata.release()
      Glibc.close(descriptor)
      throw .session
    }
    self.handle = handle
    var hooks = fuse_custom_io()
    hooks.read = { descriptor, buffer, capacity, userdata in
      let count = read(descriptor, buffer, min(capacity, RequestMemory.capacity))
      guard count > 0 else { return count }
      let session = Unmanaged<MountSession>.fromOpaque(userdata!).takeUnretainedValue()
      return session.transport.rewriteRequest(buffer!, count: count)
    }
    hooks.writev = { descriptor, vectors, count, userdata in
      let session = Unmanaged<MountSession>.fromOpaque(userdata!).takeUnretainedValue()
      if session.transport.isInitialized { return writev(descriptor, vectors, count) }
      let body = count > 1 ? vectors![1] : iovec()
      let isInit = session.transport.completeReply(
        header: vectors![0].iov_base, body: body.iov_base, bodyBytes: body.iov_len)
      let written = writev(descriptor, vectors, count)
      if isInit { session.transport.initialized() }
      return written
    }
    guard fuse_session_custom_io(handle, &hooks, descriptor) == 0 else {
      close()
      Glibc.close(descriptor)
      throw .session
    }
  }

  /// Ends the kernel's side too: what still waits for an answer gets ENOTCONN.
  func close() {
    fuse_session_destroy(handle)
    userdata.release()
  }
}
