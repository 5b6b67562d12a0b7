import HoldfastBase

/// Calls `body` with `count` bytes written by `encode`, on the stack.
func withEncoded<Result>(
  _ count: Int, _ encode: (UnsafeMutableRawPointer) -> Void,
  _ body: (UnsafeRawBufferPointer) throws(FSError) -> Result
) throws(FSError) -> Result {
  let result = withUnsafeTemporaryAllocation(byteCount: count, alignment: 8) {
    buffer -> Swift.Result<Result, FSError> in
    encode(buffer.baseAddress!)
    do throws(FSError) {
      return .success(try body(UnsafeRawBufferPointer(buffer)))
    } catch {
      return .failure(error)
    }
  }
  return try result.get()
}
