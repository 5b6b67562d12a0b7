import HoldfastSeal
import HoldfastStore
import Testing

@testable import HoldfastFuse

@Suite struct MountOptionsTests {
  @Test func defaults() throws {
    let options = try MountOptions(parsing: "")
    #expect(options == MountOptions())
    #expect(!options.readOnly && options.allowOther == nil && options.accessTime == .relatime)
    #expect(options.sealPolicy == .owner && options.graceSeconds == 30 && options.onError == .remountReadOnly)
  }

  @Test func everyOptionOfOurs() throws {
    let options = try MountOptions(
      parsing: "ro,allow_other,noatime,direct,blkdev,cache=64M,commit=9,seal_policy=writer,grace=0,errors=shutdown")
    #expect(options.readOnly && options.direct && options.blockDevice && options.allowOther == true)
    #expect(options.accessTime == .noatime && options.cacheBytes == 64 << 20 && options.commitSeconds == 9)
    #expect(options.sealPolicy == .writer && options.graceSeconds == 0 && options.onError == .shutdown)
    let engine = options.storeOptions
    #expect(engine.readOnly && engine.cacheBytes == 64 << 20 && engine.commitSeconds == 9)
    #expect(engine.accessTime == .none && engine.onError == .shutdown)
    #expect(engine.seals.policy == .writer && engine.seals.defaultGraceSeconds == 0)
  }

  @Test func theKernelsOptions() throws {
    let options = try MountOptions(parsing: "rw,nosuid,nodev,noexec,sync,dirsync,nodiratime,lazytime")
    #expect(
      options.kernelFlags == [
        .noSetID, .noDevices, .noExecute, .synchronous, .directorySynchronous, .noDirectoryAccessTime, .lazyTime,
      ])
    #expect(try MountOptions(parsing: "nosuid,suid,noexec,exec,sync,async,nodev,dev").kernelFlags == [])
  }

  @Test func optionsForOthersAreIgnored() throws {
    let list = "defaults,noauto,user,nofail,_netdev,x-systemd.automount,X-mount.mkdir,default_permissions,x-a=b,c"
    #expect(throws: MountOptions.ParseError.unknown("c")) { try MountOptions(parsing: list) }
    #expect(try MountOptions(parsing: String(list.dropLast(2))) == MountOptions())
  }

  @Test(arguments: [
    ("zork", MountOptions.ParseError.unknown("zork")), ("rw,zork=1", .unknown("zork=1")),
    ("cache", .missingValue(option: "cache")), ("grace=", .missingValue(option: "grace")),
    ("cache=many", .badValue(option: "cache", value: "many")), ("cache=1K", .badValue(option: "cache", value: "1K")),
    ("cache=99999999999999T", .badValue(option: "cache", value: "99999999999999T")),
    ("commit=0", .badValue(option: "commit", value: "0")), ("grace=-1", .badValue(option: "grace", value: "-1")),
    ("seal_policy=root", .badValue(option: "seal_policy", value: "root")),
    ("errors=panic", .badValue(option: "errors", value: "panic")), ("ro=1", .unwantedValue(option: "ro")),
  ])
  func errorsNameTheOption(list: String, error: MountOptions.ParseError) {
    #expect(throws: error) { try MountOptions(parsing: list) }
  }

  @Test func aFailingRemountChangesNothing() throws {
    var options = try MountOptions(parsing: "grace=7")
    #expect(throws: MountOptions.ParseError.self) { try options.apply("grace=8,zork") }
    #expect(options.graceSeconds == 7)
    try options.apply("noatime")
    #expect(options.graceSeconds == 7 && options.accessTime == .noatime)
  }

  @Test func theListParsesToTheSameOptions() throws {
    let options = try MountOptions(
      parsing: "ro,nosuid,noexec,strictatime,noallow_other,direct,cache=3M,commit=1,seal_policy=admin,errors=shutdown")
    #expect(try MountOptions(parsing: options.list) == options)
  }
}
