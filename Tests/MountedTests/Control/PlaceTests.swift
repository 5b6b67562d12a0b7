/// `holdfast defrag`, `holdfast prepare` and the extent-size hint on a mount; reading and writing while blocks move.

import CHoldfast
import CMountedSupport
import Glibc
import Testing

@Suite("Control: places", .needsMount, .mounted(), .deadline(), .serialized)
struct PlaceTests {
  /// Two files written in turn, block by block.
  private func splintered(_ blocks: Int = 64, on volume: Volume? = nil) throws -> (folder: Path, files: [Path]) {
    let folder = try (volume ?? sharedVolume()).freshFolder()
    let paths = [folder / "one", folder / "two"]
    // Each is closed after every block, so that nothing is preallocated behind it.
    for block in 0..<blocks {
      for (number, path) in paths.enumerated() {
        let file = try path.open(O_CREAT | O_RDWR)
        defer { file.close() }
        try file.writeAll(pattern(4096, seed: UInt8(number * 100 + block % 100)), at: block * 4096)
      }
    }
    return (folder, paths)
  }

  private func extentCount(_ path: Path) throws -> Int { try path.extents().split(separator: "\n").count }

  @Test func defragmentsBelowADirectory() throws {
    let (folder, files) = try splintered()
    let before = try files.map { try $0.contents() }
    #expect(try extentCount(files[0]) > 1)
    try files[1].seal("hard", name: "keeper")
    let held = try files[1].extents()
    let result = try holdfast("defrag", folder.text)
    #expect(result.status == 0, "\(result.errors)")
    #expect(result.output.contains("request 'keeper'") && result.output.contains("2 files"), "\(result.output)")
    #expect(try extentCount(files[0]) == 1)
    #expect(try files[1].extents() == held)
    #expect(try files.map { try $0.contents() } == before)
    let named = try holdfast("defrag", files[1].text)
    #expect(named.status == 1 && named.errors.contains("holdfast why"))
    try files[1].unseal(name: "keeper")
    let json = try holdfast("defrag", "--json", files[1].text)
    #expect(json.status == 0 && json.output.contains("\"extents_after\":1"), "\(json.output)")
    #expect(try files.map { try $0.contents() } == before)
    // Once for the directory, not for each file below.
    let elsewhere = try holdfast("defrag", try sharedVolume().folder)
    #expect(elsewhere.status == 1 && elsewhere.errors.contains("not a file on a Holdfast mount"), "\(elsewhere.errors)")
    #expect(elsewhere.errors.split(separator: "\n").count == 1, "\(elsewhere.errors)")
  }

  @Test func preparesInOneRun() throws {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create([])
    let result = try holdfast("prepare", path.text, "--size", "4M", "--align", "2M", "--json")
    #expect(result.status == 0 && result.output.contains("\"contiguous\":true"), "\(result.output)\(result.errors)")
    let fields = try path.extents().split(separator: "\n").map { $0.split(separator: " ") }
    #expect(fields.count == 1 && Int(fields[0][1])! % (2 << 20) == 0 && fields[0][3] == "written")
    #expect(try path.contents() == zeros(4 << 20))
    // More than there is: prepared as far as that goes is an error of its own.
    let tooMuch = try holdfast("prepare", path.text, "--size", "100G", "--contiguous")
    #expect(tooMuch.status == 1 && tooMuch.errors.contains("free space"), "\(tooMuch.errors)")
    #expect(try path.size() == 4 << 20)
    try path.seal("hard", name: "keeper")
    let sealed = try holdfast("prepare", path.text, "--size", "8M")
    #expect(sealed.status == 1 && sealed.errors.contains("holdfast why"), "\(sealed.errors)")
    try path.unseal(name: "keeper")
    #expect(try path.size() == 4 << 20)
  }

  @Test func extentSizeHints() throws {
    let folder = try sharedVolume().freshFolder()
    try folder.setAttribute("holdfast.extsize", Array("1M".utf8))
    #expect(try folder.attributeText("holdfast.extsize") == "1048576")
    let path = folder / "file"
    try path.create(pattern(10_000))
    #expect(try path.attributeText("holdfast.extsize") == "1048576")
    let fields = try path.extents().split(separator: "\n").map { $0.split(separator: " ") }
    #expect(Int(fields[0][1])! % (1 << 20) == 0)
    for bad in ["", "x", "1", "3K", "2G", "-1", "1T", "99999999999999999999"] {
      #expect(throws: Errno(EINVAL), "\(bad)") { try path.setAttribute("holdfast.extsize", Array(bad.utf8)) }
    }
    try path.removeAttribute("holdfast.extsize")
    #expect(throws: Errno(ENODATA)) { try path.attributeText("holdfast.extsize") }
    #expect(throws: Errno(ENODATA)) { try path.removeAttribute("holdfast.extsize") }
  }

  /// Writers and readers go on while their file is moved again and again. With `direct` the copies bypass the cache of the
  /// image.
  @Test(arguments: ["", "direct"]) func movesUnderLoad(_ options: String) throws {
    let blocks = 256
    let volume = try Volume(mebibytes: 32)
    defer { volume.remove() }
    try volume.mount(options)
    let (_, files) = try splintered(blocks, on: volume)
    let path = files[0]
    let expected = try path.contents()
    let target = path
    let load = Background {
      let file = try target.open(O_RDWR | hmt_o_direct)
      defer { file.close() }
      for round in 0..<blocks {
        // The same bytes again, where they are just now.
        let offset = round * 4096
        try file.writeDirectly(Array(expected[offset..<offset + 4096]), at: offset)
        guard try target.contents() == expected else { throw Trouble("round \(round): other bytes") }
      }
    }
    let file = try path.open(O_RDWR)
    defer { file.close() }
    var moves = 0
    while !load.isDone {
      // Another alignment each time: there is something to move.
      moves += Int(try file.prepareContiguously(alignment: 4096 << (moves % 9)).moved > 0 ? 1 : 0)
      _ = try file.defragment()
    }
    try load.finish()
    #expect(try path.contents() == expected)
    #expect(moves > 0)
    file.close()
    volume.finish()
  }
}
