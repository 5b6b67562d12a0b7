// swift-tools-version: 6.2
// Benchmarks, apart from the product so that users never build them:
//   swift run -c release --package-path Benchmarks engine-benchmark
//   scripts/fsck-million.sh (million-files)
import PackageDescription

let package = Package(
  name: "Benchmarks",
  dependencies: [.package(name: "holdfast", path: "..")],
  targets: [
    .executableTarget(
      name: "engine-benchmark",
      dependencies: [.product(name: "HoldfastEngine", package: "holdfast")]),
    .executableTarget(
      name: "million-files",
      dependencies: [.product(name: "HoldfastEngine", package: "holdfast")]),
  ]
)
