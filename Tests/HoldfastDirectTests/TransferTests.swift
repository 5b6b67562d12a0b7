import CPlatform
import Glibc
import HoldfastDirect
import Testing

@Suite struct TransferTests {
  private static let block = ScratchImage.block

  /// Against an array: whatever is read is what was there, whatever is written lands, and nothing else changes.
  @Test(arguments: [false, true]) func randomTransfers(vectors: Bool) throws {
    let seed = UInt64.random(in: 1...UInt64.max)
    print("random transfers: seed \(seed)")
    var random = TestRandom(state: seed)
    let image = try ScratchImage(blocks: 64)
    // A hole at 8…9, unwritten at 20…21; every other run somewhere else.
    let places: [(Int, Int, Int, DirectExtent.State)] = [
      (0, 40, 3, .written), (3, 5, 1, .written), (4, 6, 4, .written), (10, 30, 10, .written), (20, 60, 2, .unwritten),
      (22, 0, 5, .written), (27, 50, 2, .shared), (29, 12, 3, .prepared),
    ]
    let space = try image.space(places)
    var expectedImage = try image.contents()
    let size = 32 * Self.block - 1000
    /// Where byte `offset` lies: nil where nothing does.
    func place(_ offset: Int) -> (byte: Int, state: DirectExtent.State)? {
      for (logical, physical, length, state) in places
      where offset >= logical * Self.block && offset < (logical + length) * Self.block {
        return (physical * Self.block + offset - logical * Self.block, state)
      }
      return nil
    }
    for _ in 0..<1000 {
      let offset = Int.random(in: 0..<34 * Self.block, using: &random)
      let count = Int.random(in: 0...6 * Self.block, using: &random)
      if Bool.random(using: &random) {
        let expected = (offset..<max(offset, min(offset + count, size))).map { at in
          place(at).flatMap { $0.state == .unwritten ? nil : expectedImage[$0.byte] } ?? 0
        }
        let got = try Self.read(space, count, offset, size, vectors, &random)
        #expect(got == expected, "read \(count) at \(offset)")
      } else {
        let content = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
        let isStorable = (offset..<offset + count).allSatisfy {
          place($0).map { $0.state == .written || $0.state == .prepared } ?? false
        }
        do throws(DirectError) {
          let done = try Self.write(space, content, offset, vectors, &random)
          #expect(done == count && (isStorable || count == 0), "write \(count) at \(offset)")
          for index in 0..<count { expectedImage[place(offset + index)!.byte] = content[index] }
        } catch {
          #expect(!isStorable && error.errno == EINVAL && error.step == .write, "write \(count) at \(offset): \(error)")
          let defect = place(Int(error.defectOffset))
          #expect(defect == nil || defect!.state == .unwritten || defect!.state == .shared)
          #expect(error.defectOffset >= offset && error.defectOffset < UInt64(offset + count))
        }
      }
    }
    #expect(try image.contents() == expectedImage)
  }

  private static func read(
    _ space: borrowing DirectSpace, _ count: Int, _ offset: Int, _ size: Int, _ vectors: Bool,
    _ random: inout TestRandom
  ) throws(DirectError) -> [UInt8] {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 1)
    defer { buffer.deallocate() }
    buffer.initializeMemory(as: UInt8.self, repeating: 0xee)
    guard count > 0 else { return [] }
    let done =
      vectors
      ? try space.readVector(parts(buffer, &random), count: 3, at: UInt64(offset), fileSize: UInt64(size))
      : try space.read(buffer.baseAddress!, count: count, at: UInt64(offset), fileSize: UInt64(size))
    for index in done..<count where buffer[index] != 0xee { Issue.record("byte \(index) of \(done) written") }
    return Array(buffer.prefix(done))
  }

  private static func write(
    _ space: borrowing DirectSpace, _ content: [UInt8], _ offset: Int, _ vectors: Bool, _ random: inout TestRandom
  ) throws(DirectError) -> Int {
    guard !content.isEmpty else { return 0 }
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: content.count, alignment: 1)
    defer { buffer.deallocate() }
    buffer.copyBytes(from: content)
    return vectors
      ? try space.writeVector(parts(buffer, &random), count: 3, at: UInt64(offset))
      : try space.write(buffer.baseAddress!, count: buffer.count, at: UInt64(offset))
  }

  /// A buffer in three, maybe empty, parts.
  private static func parts(_ buffer: UnsafeMutableRawBufferPointer, _ random: inout TestRandom) -> [iovec] {
    let cuts =
      [0, Int.random(in: 0...buffer.count, using: &random), Int.random(in: 0...buffer.count, using: &random)]
      .sorted() + [buffer.count]
    return (0..<3).map { iovec(iov_base: buffer.baseAddress! + cuts[$0], iov_len: cuts[$0 + 1] - cuts[$0]) }
  }

  @Test func theLayoutHasAnEnd() throws {
    let image = try ScratchImage(blocks: 16)
    let space = try image.space([(4, 2, 2, .written)], start: 4 << 12, end: 6 << 12)
    var bytes = [UInt8](repeating: 0, count: 8192)
    #expect(try space.read(&bytes, count: 8192, at: 5 << 12, fileSize: 1 << 20) == 4096)
    #expect(bytes[0] == 4)
    for offset in [0, 3 << 12, 6 << 12] as [UInt64] {
      #expect(throws: DirectError(.read, .outsideLayout)) {
        try space.read(&bytes, count: 1, at: offset, fileSize: 1 << 20)
      }
    }
    #expect(throws: DirectError(.write, .outsideLayout)) { try space.write(bytes, count: 8192, at: 5 << 12) }
    #expect(try space.read(&bytes, count: 1, at: 6 << 12, fileSize: 6 << 12) == 0)
  }

  @Test func whatIsReadOnlyStaysSo() throws {
    let image = try ScratchImage(blocks: 4)
    let space = try image.space([(0, 0, 4, .written)], writable: false)
    #expect(throws: DirectError(.write, .readOnly)) { try space.write([1], count: 1, at: 0) }
    #expect(throws: DirectError(.map, .readOnly)) { _ = try space.map(0, 4096, writable: true) }
  }

  /// Past the page cache, with a file that ends within a block: what lies behind its end is nobody's to see.
  @Test func pastThePageCache() throws {
    var image = try ScratchImage(blocks: 8)
    // Older kernels have no O_DIRECT on tmpfs.
    if (try? image.open(direct: true)) == nil { image = try ScratchImage(blocks: 8, folder: "/var/tmp") }
    let space = try image.space([(0, 4, 2, .written)], direct: true)
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 8192, alignment: 4096)
    defer { buffer.deallocate() }
    buffer.initializeMemory(as: UInt8.self, repeating: 0xee)
    #expect(try space.read(buffer.baseAddress!, count: 8192, at: 0, fileSize: 5000) == 5000)
    #expect(buffer[0] == 5 && buffer[4096] == 6 && buffer[4999] == 6 && buffer[5000] == 0 && buffer[8191] == 0)
    #expect(try space.read(buffer.baseAddress!, count: 4096, at: 4096, fileSize: 5000) == 904)
    #expect(buffer[903] == 6 && buffer[904] == 0 && buffer[4095] == 0)
  }
}
