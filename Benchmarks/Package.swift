// swift-tools-version: 6.2
// Benchmarks, apart from the product so that users never build them:
//   swift run -c release --package-path Benchmarks engine-benchmark
//   swift run -c release --package-path Benchmarks durability-benchmark
//   swift run -c release --package-path Benchmarks seal-benchmark [HOLDFAST]
//   scripts/fsck-million.sh (million-files)
import PackageDescription

let engine = Target.Dependency.product(name: "HoldfastEngine", package: "holdfast")
let client = Target.Dependency.product(name: "HoldfastClient", package: "holdfast")

let package = Package(
  name: "Benchmarks",
  dependencies: [.package(name: "holdfast", path: "..")],
  targets: [
    .target(name: "BenchmarkSupport", dependencies: [engine]),
    .executableTarget(name: "engine-benchmark", dependencies: ["BenchmarkSupport", engine]),
    .executableTarget(name: "durability-benchmark", dependencies: ["BenchmarkSupport", engine]),
    .executableTarget(name: "seal-benchmark", dependencies: ["BenchmarkSupport", engine, client]),
    .executableTarget(
      name: "direct-benchmark", dependencies: [.product(name: "HoldfastBench", package: "holdfast")]),
    .executableTarget(name: "million-files", dependencies: [engine]),
  ]
)
