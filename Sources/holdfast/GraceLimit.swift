/// Beside HoldfastClient's `SealRequest` that of HoldfastSeal could not be told apart: hence a file of its own.

import HoldfastSeal

enum GraceLimit {
  /// The most that `--grace` takes.
  static let seconds = SealSpecification.maximumGraceSeconds
}
