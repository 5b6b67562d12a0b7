/// Where the tests run: whether they can mount here, the built programs, the folder for images.
///
/// - HOLDFAST_BINARY: the command to test, instead of the one beside the test bundle.
/// - HOLDFAST_REQUIRE_MOUNT=1: where mounting is impossible the tests fail instead of being skipped.
/// - HOLDFAST_TEST_FOLDER: where images and mount points are made.

import Glibc

enum TestEnvironment {
  /// Whether mounted tests run, be it only to fail because they must not be skipped.
  static var runsMountedTests: Bool { obstacle == nil || requiresMount }

  static let skipReason = "mounted tests need root and /dev/fuse"

  static var requiresMount: Bool { variable("HOLDFAST_REQUIRE_MOUNT") == "1" }

  /// Why nothing can be mounted here.
  static var obstacle: String? {
    if geteuid() != 0 { return "not root" }
    if access("/dev/fuse", R_OK | W_OK) != 0 { return "no /dev/fuse" }
    return nil
  }

  static let holdfast = variable("HOLDFAST_BINARY") ?? (buildFolder + "/holdfast")
  static let agent = buildFolder + "/mounted-test-agent"
  /// A program that knows nothing of Holdfast, and the library that serves such programs directly.
  static let preloadAgent = buildFolder + "/preload-agent"
  static let preload = buildFolder + "/libholdfast-preload.so"
  /// The library that makes the daemon's calls on its image fail (Tests/FaultShim).
  static let faultShim = buildFolder + "/libHoldfastFaultShim.so"
  /// The library for C programs.
  static let library = buildFolder + "/libHoldfastLibrary.so"
  /// The package: above this file.
  static let sources: String = {
    var path = #filePath
    for _ in 0..<4 { path = folder(of: path) ?? "." }
    return path
  }()

  /// The folder of the test bundle: where the running program is, or what it was told to run is.
  private static let buildFolder: String = {
    for argument in CommandLine.arguments where argument.contains(".xctest") {
      if let folder = folder(of: resolved(argument)), access(folder + "/holdfast", X_OK) == 0 { return folder }
    }
    return folder(of: resolved("/proc/self/exe")) ?? "."
  }()

  /// A filesystem in memory when there is one with room: the tests sync a lot.
  static let scratchFolder: String = {
    if let folder = variable("HOLDFAST_TEST_FOLDER") { return folder }
    var statistics = statvfs()
    let isRoomy =
      statvfs("/dev/shm", &statistics) == 0 && UInt64(statistics.f_bavail) * UInt64(statistics.f_frsize) >= 2 << 30
    return isRoomy && access("/dev/shm", W_OK) == 0 ? "/dev/shm" : variable("TMPDIR") ?? "/tmp"
  }()

  private static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

  private static func resolved(_ path: String) -> String {
    guard let real = realpath(path, nil) else { return path }
    defer { free(real) }
    return String(cString: real)
  }

  private static func folder(of path: String) -> String? {
    path.lastIndex(of: "/").map { String(path[..<$0]) }
  }
}
