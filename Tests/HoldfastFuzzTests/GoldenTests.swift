import HoldfastBase
import HoldfastCheck
import HoldfastFormat
import HoldfastFuzz
import HoldfastStore
import Testing

/// The images of every format version there was: opened, read, written, reopened, for ever.
@Suite struct GoldenTests {
  private static var writing: StoreOptions {
    var options = StoreOptions()
    options.backgroundThread = false
    return options
  }

  private func check(_ memory: ImageMemory) -> CheckReport {
    var checker = Checker(device: FuzzDevice(memory, readOnly: true))
    return checker.run()
  }

  @Test(arguments: GoldenImages.names) func isSound(_ name: String) throws {
    let report = check(ImageMemory(try GoldenImages.image(name)))
    #expect(report.issues.map(\.message) == [] && report.isSound)
    #expect(report.wasUnclean == (name == "v1-unclean"))
    #expect(report.volume?.label == "golden \(name)")
  }

  /// What is in them is pinned: names, attributes, maps, contents, attributes' values, seals.
  @Test(arguments: GoldenImages.names) func holdsWhatItHeld(_ name: String) throws {
    let memory = ImageMemory(try GoldenImages.image(name))
    let before = memory.contents()
    #expect(try Manifest.text(of: FuzzDevice(memory, readOnly: true)) == GoldenImages.manifest(name))
    #expect(memory.contents() == before)
  }

  /// Every kind of record the version has is in them.
  @Test func hasEverything() throws {
    var kinds: Set<String> = []
    for name in GoldenImages.names { kinds.formUnion(try FuzzBase(name).recordKinds) }
    #expect(
      kinds == [
        "chunk", "dirent", "extent", "extent unwritten", "free", "freeByLength", "inode", "inode blockDevice",
        "inode characterDevice", "inode directory", "inode fifo", "inode regular", "inode socket", "inode symlink",
        "internal level 1", "internal level 2", "journal", "orphan truncating", "orphan unlinked", "persistentSeal",
        "quarantine", "symlink", "symlink piece", "xattr", "xattr piece", "colliding dirent", "colliding xattr",
      ])
  }

  @Test(arguments: GoldenImages.names) func worksAndReopens(_ name: String) throws {
    let memory = ImageMemory(try GoldenImages.image(name))
    let store = try Store(mounting: FuzzDevice(memory), options: Self.writing)
    let manifest = try Manifest.text(of: store)
    if name != "v1-unclean" {
      #expect(try manifest == GoldenImages.manifest(name))
    } else {
      // Its truncation is done now.
      #expect(manifest.contains("/cut 0 ") && manifest.split(separator: "\n").count == 93)
    }
    try FuzzBase.exercise(store)
    try store.unmount()
    let report = check(memory)
    #expect(report.issues.map(\.message) == [] && !report.wasUnclean && report.totals.orphans == 0)
    let again = try Store(mounting: FuzzDevice(memory), options: Self.writing)
    let text = try Manifest.text(of: again)
    #expect(text.contains("/new folder/new file ") && text != manifest)
    try again.unmount()
    #expect(check(memory).isSound)
  }

  // MARK: Features of newer versions

  /// The clean image with feature bits in both superblock copies.
  private func image(_ edit: (inout Superblock) -> Void) throws -> ImageMemory {
    var bytes = try GoldenImages.image("v1-clean")
    bytes.withUnsafeMutableBytes { raw in
      for address in Geometry.superblocks {
        let block = raw.baseAddress! + Int(address) << Block.shift
        var superblock = Superblock(decoding: block, address: address)!
        edit(&superblock)
        superblock.encode(to: block, address: address)
      }
    }
    return ImageMemory(bytes)
  }

  @Test func compatibleFeaturesAreKept() throws {
    let bits: UInt64 = 1 << 63 | 5
    let memory = try image { $0.compatible = bits }
    #expect(check(memory).isSound)
    let store = try Store(mounting: FuzzDevice(memory), options: Self.writing)
    #expect(!store.isReadOnly)
    try FuzzBase.exercise(store)
    try store.unmount()
    #expect(check(memory).isSound)
    let again = try Store(mounting: FuzzDevice(memory), options: Self.writing)
    #expect(again.superblock.compatible == bits)
  }

  @Test func readOnlyCompatibleFeaturesAreNotWritten() throws {
    let memory = try image { $0.readOnlyCompatible = 1 << 62 }
    let device = FuzzDevice(memory, readOnly: true)
    let store = try Store(mounting: device, options: Self.writing)
    #expect(store.isReadOnly)
    #expect(try Manifest.text(of: store) == GoldenImages.manifest("v1-clean"))
    #expect(throws: FSError.self) { try FuzzBase.exercise(store) }
    try store.unmount()
    #expect(device.violations.isEmpty)
    #expect(check(memory).volume?.unknownReadOnlyFeatures == 1 << 62)
  }

  @Test func incompatibleFeaturesAreRefused() throws {
    let memory = try image { $0.incompatible = 0x8000_0000_0000_0010 }
    let device = FuzzDevice(memory, readOnly: true)
    let refusal = FSError.incompatibleFormat(features: 0x8000_0000_0000_0010)
    #expect(throws: refusal) { try Store(mounting: device, options: Self.writing) }
    #expect(refusal.description.contains("0x8000000000000010") && device.violations.isEmpty)
    #expect(check(memory).outcome == .incompatible(features: 0x8000_0000_0000_0010))
  }
}
