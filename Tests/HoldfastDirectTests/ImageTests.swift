import CPlatform
import Glibc
import HoldfastDirect
import Testing

@Suite struct ImageTests {
  private func name(_ text: String) throws -> String {
    try Array(text.utf8).withUnsafeBytes { try ImageName(information: $0).withPath { String(cString: $0) } }
  }

  @Test func theNameIsFound() throws {
    #expect(try name(#"{"pid":1,"image":"/var/disk.img","mountpoint":"/mnt"}"#) == "/var/disk.img")
    #expect(try name(#"{"label":"image","x":{"image":"/no"},"image" : "/a \"b\\c\td","#) == "/a \"b\\c\td")
    #expect(try name(#"{"image":"/\u0001ü/x"}"#) == "/\u{1}ü/x")
  }

  @Test(arguments: [
    "", "{}", #"{"image":7}"#, #"{"image":""}"#, #"{"image":"/a"#, #"{"x":{"image":"/a"}}"#, #"{"image":"\u0000"}"#,
    #"{"image":"\q"}"#, #"{"image":"\u00"#, #"{"image":"\"#, #"{"label":"image"}"#,
  ])
  func thereIsNoName(text: String) {
    #expect(throws: DirectError(.openImage, .noImageName)) { try name(text) }
  }

  @Test func aNameMustFit() throws {
    let longest = "/" + String(repeating: "x", count: ImageName.capacity - 2)
    #expect(try name("{\"image\":\"\(longest)\"}") == longest)
    #expect(throws: DirectError(.openImage, .noImageName)) { try name("{\"image\":\"\(longest)x\"}") }
  }

  /// A plain file has no mount of ours.
  @Test func aPlainFileHasNoLayout() throws {
    let image = try ScratchImage(blocks: 1)
    let descriptor = holdfast_open(image.path, O_RDWR, 0)
    defer { close(descriptor) }
    #expect(throws: DirectError(.openImage, errno: ENOTTY)) { _ = try ImageName(mountOf: descriptor) }
    #expect(throws: DirectError(.getLayout, errno: ENOTTY)) {
      _ = try DirectLayout(file: descriptor, image: try image.open(), request: LayoutRequest())
    }
  }

  @Test func anImageMustBeThere() {
    #expect(throws: DirectError(.openImage, errno: ENOENT)) {
      _ = try ImageFile(path: "/nowhere/image", writable: false)
    }
  }
}
