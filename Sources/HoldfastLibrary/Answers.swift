/// How the functions of include/holdfast-client.h answer: a result, or -1 (NULL) with errno and the error's text.

import CPlatform
import Glibc
import HoldfastClient

/// Runs `body`; nil when it failed, with errno and the text set, nothing after them.
func answer<Result: ~Copyable>(_ body: () throws(ClientError) -> Result) -> Result? {
  let failure: ClientError
  do throws(ClientError) {
    return try body()
  } catch {
    failure = error
  }
  report(failure)
  return nil
}

/// 0 or -1.
func status(_ body: () throws(ClientError) -> Void) -> Int32 { answer(body) == nil ? -1 : 0 }

private func report(_ error: ClientError) {
  let text = holdfast_error_text()!
  var count = 0
  for byte in error.description.utf8.prefix(Int(HOLDFAST_ERROR_BYTES) - 1) {
    text[count] = CChar(bitPattern: byte)
    count += 1
  }
  text[count] = 0
  __errno_location().pointee = error.errno
}

@_cdecl("holdfast_last_error")
public func lastError() -> UnsafePointer<CChar> { UnsafePointer(holdfast_error_text()!) }
