/// A system call's error as something thrown and compared.

import CMountedSupport
import Glibc

struct Errno: Error, Equatable, CustomStringConvertible {
  let code: Int32
  init(_ code: Int32) { self.code = code }

  var description: String {
    hmt_error_name(code).map { String(cString: $0) } ?? "errno \(code)"
  }
}

/// The result of a system call, unless that is an error.
@discardableResult
func check<Result: SignedInteger>(_ result: Result) throws(Errno) -> Result {
  guard result >= 0 else { throw Errno(errno) }
  return result
}

/// `body` again until it is true, at most `seconds` long: for what happens soon, but not at once.
func eventually(within seconds: Double = 5, _ body: () throws -> Bool) rethrows -> Bool {
  let end = now() + seconds
  while true {
    if try body() { return true }
    if now() > end { return false }
    usleep(2000)
  }
}

/// Seconds of the monotonic clock.
func now() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
