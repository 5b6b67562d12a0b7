/// A holder that uses the client library: one layout, and what it maps of it.

import CMountedSupport
import Glibc
import HoldfastClient

nonisolated(unsafe) private var layout: Layout?
nonisolated(unsafe) private var mapping: DirectMapping?

/// `direct PATH write|breakable|… IMAGE` (takes a layout; IMAGE '' for the one the mount names), `direct-map` (all of it, for
/// storing with `store`), `direct-unmap`, `direct-recall MILLISECONDS` (what polls), `direct-write OFFSET BYTE`,
/// `direct-return`.
func direct(_ request: Request) -> Outcome? {
  do throws(ClientError) {
    switch request.name {
    case "direct":
      let kinds = request.text(2).split(separator: ",")
      var wanted = LayoutRequest()
      wanted.isWrite = kinds.contains("write")
      wanted.isBreakable = kinds.contains("breakable")
      wanted.isShared = kinds.contains("shared")
      let image = request.text(3)
      let file = try OpenFile(request.text(1), access: wanted.isWrite ? .readWrite : .readOnly)
      layout = try Layout(file, wanted, image: image.isEmpty ? nil : image)
      return Outcome(0)
    case "direct-map":
      guard
        let range = try withLayout({ (layout) throws(ClientError) in
          try layout.map(0..<layout.fileSize, .readWrite, options: [.direct, .populate])
        })
      else { return nil }
      mapped.append(range.bytes)
      mapping = consume range
      return Outcome(0)
    case "direct-unmap":
      mapped = []
      mapping = nil
      return Outcome(0)
    case "direct-recall":
      guard let descriptor = try withLayout({ (layout) throws(ClientError) in try layout.recallDescriptor() })
      else { return nil }
      var entry = pollfd(fd: descriptor.descriptor, events: Int16(POLLIN), revents: 0)
      return Outcome(poll(&entry, 1, request.number(1)))
    case "direct-write":
      let byte: UInt8 = request.number(2)
      let done = try withLayout { (layout) throws(ClientError) in
        try withUnsafeBytes(of: byte) { (bytes) throws(ClientError) in try layout.write(bytes, at: request.number(1)) }
      }
      return done.map { Outcome($0) }
    case "direct-return":
      guard let taken = layout.take() else { return nil }
      _ = try taken.giveBack()
      return Outcome(0)
    default: return nil
    }
  } catch {
    errno = error.errno
    var outcome = Outcome(-1)
    outcome.text = error.description
    return outcome
  }
}

private func withLayout<Result: ~Copyable>(
  _ body: (borrowing Layout) throws(ClientError) -> Result
) throws(ClientError) -> Result? {
  guard let taken = layout.take() else { return nil }
  do throws(ClientError) {
    let result = try body(taken)
    layout = consume taken
    return result
  } catch {
    layout = consume taken
    throw error
  }
}
