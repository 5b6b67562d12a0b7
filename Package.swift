// swift-tools-version: 6.2
// Layers, lowest first; a lower one never imports a higher one (scripts/check-layers.sh holds that):
// CPlatform < Base < Format < Device < Seal < Store < Fuse, with Check beside Store and Direct < Client beside all.
import PackageDescription

let strict: [SwiftSetting] = [.treatAllWarnings(as: .error)]

func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

let package = Package(
  name: "holdfast",
  products: [
    .executable(name: "holdfast", targets: ["holdfast"]),
    .library(name: "HoldfastClient", targets: ["HoldfastClient"]),
    // Installed as libholdfast.so.1 (scripts/install-library.sh).
    .library(name: "HoldfastLibrary", type: .dynamic, targets: ["HoldfastLibrary"]),
    .library(
      name: "HoldfastEngine",
      targets: ["HoldfastBase", "HoldfastFormat", "HoldfastDevice", "HoldfastSeal", "HoldfastStore"]),
    // For LD_PRELOAD by programs that know nothing of us (docs/PRELOAD.md).
    .library(name: "holdfast-preload", type: .dynamic, targets: ["HoldfastPreload"]),
    // For LD_PRELOAD by the mounted tests; no program links it.
    .library(name: "HoldfastFaultShim", type: .dynamic, targets: ["HoldfastFaultShim"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
  ],
  targets: [
    .systemLibrary(name: "CFuse3", pkgConfig: "fuse3", providers: [.apt(["libfuse3-dev"])]),
    .systemLibrary(name: "CXXHash", pkgConfig: "libxxhash", providers: [.apt(["libxxhash-dev"])]),
    .target(name: "CPlatform"),
    .systemLibrary(name: "CHoldfast", path: "include"),
    library("HoldfastBase", ["CPlatform"]),
    library("HoldfastFormat", ["HoldfastBase", "CXXHash"]),
    library("HoldfastDevice", ["HoldfastBase", "CPlatform"]),
    library("HoldfastSeal", ["HoldfastBase", "CPlatform"]),
    library("HoldfastStore", ["HoldfastBase", "HoldfastFormat", "HoldfastDevice", "HoldfastSeal"]),
    library("HoldfastCheck", ["HoldfastBase", "HoldfastFormat", "HoldfastDevice"]),
    // Compiles as Embedded Swift, too: no strings, no existentials, no libc module.
    library("HoldfastDirect", ["CPlatform", "CHoldfast"]),
    .target(name: "CPreload", exclude: ["exports.map"]),
    // Embedded Swift: every program that is started with it pays for its start. HoldfastDirect's sources are compiled into it
    // (the link `Direct`), since a module for one kind of Swift is none for the other.
    .target(
      name: "HoldfastPreload", dependencies: ["CPlatform", "CHoldfast", "CPreload"],
      swiftSettings: strict + [.enableExperimentalFeature("Embedded"), .unsafeFlags(["-wmo"])],
      linkerSettings: [
        .unsafeFlags(["-Xlinker", "--version-script=\(Context.packageDirectory)/Sources/CPreload/exports.map"])
      ]),
    library("HoldfastClient", ["CPlatform", "CHoldfast", "HoldfastBase", "HoldfastDirect"]),
    // C programs need nothing of Swift, and see nothing but what include/holdfast-client.h declares.
    .target(
      name: "HoldfastLibrary", dependencies: ["CPlatform", "CHoldfast", "HoldfastClient"],
      exclude: ["libholdfast.map"], swiftSettings: strict,
      linkerSettings: [
        .unsafeFlags([
          "-static-stdlib", "-Xlinker", "-soname=libholdfast.so.1", "-Xlinker",
          "--version-script=\(Context.packageDirectory)/Sources/HoldfastLibrary/libholdfast.map",
        ])
      ]),
    library(
      "HoldfastCommand",
      ["CPlatform", "HoldfastBase", "HoldfastFormat", "HoldfastDevice", "HoldfastSeal", "HoldfastClient"]),
    library(
      "HoldfastSimulation",
      [
        "CPlatform", "CHoldfast", "HoldfastBase", "HoldfastFormat", "HoldfastDevice", "HoldfastSeal",
        "HoldfastStore", "HoldfastCheck", "HoldfastClient",
      ]),
    library(
      "HoldfastFuse",
      [
        "CFuse3", "CPlatform", "CHoldfast", "HoldfastBase", "HoldfastFormat", "HoldfastDevice", "HoldfastSeal",
        "HoldfastStore", .product(name: "Logging", package: "swift-log"),
      ]),
    tests("HoldfastDirectTests", ["CPlatform", "CHoldfast", "HoldfastBase", "HoldfastDirect", "HoldfastClient"]),
    tests("HoldfastFormatTests", ["HoldfastBase", "HoldfastFormat"]),
    tests(
      "HoldfastCheckTests",
      ["HoldfastBase", "HoldfastFormat", "HoldfastDevice", "HoldfastSeal", "HoldfastStore", "HoldfastCheck"]),
    .executableTarget(
      name: "holdfast",
      dependencies: [
        "CPlatform", "HoldfastCommand", "HoldfastFuse", "HoldfastStore", "HoldfastDevice", "HoldfastCheck",
        "HoldfastClient",
        "HoldfastSimulation", "HoldfastFormat", "HoldfastSeal", "HoldfastBase",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ], swiftSettings: strict),
    tests(
      "HoldfastSimulationTests",
      ["HoldfastSimulation", "HoldfastStore", "HoldfastCheck", "HoldfastDevice", "HoldfastFormat", "HoldfastBase"]),
    tests(
      "HoldfastCommandTests",
      ["HoldfastCommand", "HoldfastClient", "HoldfastBase", "HoldfastFormat", "HoldfastDevice"]),
    tests(
      "HoldfastFuseTests",
      [
        "CFuse3", "CHoldfast", "HoldfastBase", "HoldfastCheck", "HoldfastDevice", "HoldfastFormat", "HoldfastFuse",
        "HoldfastFuzz", "HoldfastSeal", "HoldfastSimulation", "HoldfastStore",
        .product(name: "Logging", package: "swift-log"),
      ]),
    // Hostile and golden images: the library, and the fuzzer whose worker processes may die of an input.
    .target(
      name: "HoldfastFuzz",
      dependencies: [
        "HoldfastBase", "HoldfastFormat", "HoldfastDevice", "HoldfastSeal", "HoldfastStore", "HoldfastCheck",
        "HoldfastSimulation",
      ], path: "Tests/HoldfastFuzz", swiftSettings: strict),
    .executableTarget(
      name: "image-fuzzer", dependencies: ["HoldfastFuzz"], path: "Tests/ImageFuzzer", swiftSettings: strict),
    tests(
      "HoldfastFuzzTests",
      [
        "HoldfastFuzz", "HoldfastBase", "HoldfastFormat", "HoldfastDevice", "HoldfastStore", "HoldfastCheck",
        "HoldfastSimulation",
      ]),
    .systemLibrary(name: "CMountedSupport", path: "Tests/CMountedSupport"),
    .executableTarget(
      name: "mounted-test-agent", dependencies: ["CMountedSupport", "CHoldfast", "HoldfastClient"],
      path: "Tests/MountedTestAgent", swiftSettings: strict),
    // A program that knows nothing of us, for the preloaded library.
    .executableTarget(name: "preload-agent", path: "Tests/PreloadAgent"),
    .systemLibrary(name: "CFaultControl", path: "Tests/CFaultControl"),
    .target(name: "HoldfastFaultShim", path: "Tests/FaultShim", publicHeadersPath: "."),
    // They run the built command, the agent and the shim, which lie beside the test bundle.
    tests("MountedTests", ["CMountedSupport", "CFaultControl", "CHoldfast", "HoldfastClient"]),
    tests("HoldfastSealTests", ["CPlatform", "HoldfastBase", "HoldfastSeal"]),
    tests(
      "HoldfastStoreTests",
      [
        "CPlatform", "HoldfastBase", "HoldfastFormat", "HoldfastDevice", "HoldfastSeal", "HoldfastStore",
        "HoldfastCheck",
      ]),
  ]
)
