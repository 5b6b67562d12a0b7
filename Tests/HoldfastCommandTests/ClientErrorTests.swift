import Glibc
import HoldfastClient
import Testing

/// Every error says what, why, and what to do where that is known; in one line.
@Suite struct ClientErrorTests {
  @Test(
    arguments: [
      (.seal, EPERM, ["cannot seal", "seal_policy", "signal"]), (.seal, EAGAIN, ["try again", "holdfast seals /f"]),
      (.seal, EDQUOT, ["limit", "max_seals", "max_pinned"]), (.seal, ESTALE, ["taken away", "open the file again"]),
      (.seal, ESRCH, ["no such process"]), (.seal, ETXTBSY, ["holdfast why /f"]), (.seal, EROFS, ["read-only"]),
      (.seal, EEXIST, ["that name"]), (.seal, ENOSPC, ["free space"]), (.seal, EIO, ["holdfast info"]),
      (.prepare, EAGAIN, ["O_NONBLOCK", "try again"]), (.prepare, EINTR, ["signal", "try again"]),
      (.prepare, EBADF, ["not open for writing"]), (.prepare, ETXTBSY, ["holdfast why /f"]),
      (.unseal, ENODATA, ["cannot unseal", "no such request"]), (.unseal, EPERM, ["another's", "holdfast revoke"]),
      (.unseal, ESTALE, ["taken away"]), (.recallStatus, EINTR, ["recall status", "signal"]),
      (.seals, ESTALE, ["at the same time", "try again"]), (.holders, ESTALE, ["try again"]),
      (.revoke, EPERM, ["only administrators"]), (.seal, ENOTTY, ["not a file on a Holdfast mount"]),
      (.seals, ENOTCONN, ["daemon is gone", "mount again"]), (.recallStatus, ECONNABORTED, ["daemon is gone"]),
    ] as [(ClientError.Operation, Int32, [String])])
  func words(_ operation: ClientError.Operation, _ code: Int32, _ words: [String]) {
    let text = ClientError(operation, path: "/f", errno: code).description
    #expect(text.hasPrefix("/f: ") && !text.contains("\n"))
    for word in words { #expect(text.contains(word), "\(text)") }
  }
}
