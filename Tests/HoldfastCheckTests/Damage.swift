import HoldfastBase
import HoldfastFormat
import Testing

@testable import HoldfastCheck

/// One kind of damage: how to make it on the sample volume, and exactly what the check must say of it.
struct Damage: CustomTestStringConvertible, Sendable {
  /// The image to damage, and the issues that are to come of it.
  typealias Make = @Sendable () -> (MemoryDevice, [CheckIssue])

  let name: String
  let make: Make
  var testDescription: String { name }

  private init(_ name: String, make: @escaping Make) {
    self.name = name
    self.make = make
  }

  /// Damage among the records: on-disk structures are right, what they say is not. Free space follows the
  /// records when `settled` is false: it is freed after the damage.
  static func records(
    _ name: String, settled: Bool = true, _ body: @escaping @Sendable (inout ImageBuilder) -> [CheckIssue]
  ) -> Damage {
    Damage(name) {
      var image = settled ? Sample.image() : Sample.unsettled()
      let issues = body(&image)
      if !settled { image.settle() }
      return (image.build(), issues)
    }
  }

  /// Damage to the blocks of the sample volume, whose tree has three levels.
  static func blocks(_ name: String, _ body: @escaping @Sendable (MemoryDevice) -> [CheckIssue]) -> Damage {
    Damage(name) {
      let device = Sample.image().build()
      return (device, body(device))
    }
  }

  /// Damages the blocks, too, after the records have been laid out.
  func then(_ body: @escaping @Sendable (MemoryDevice) -> Void) -> Damage {
    Damage(name) { [make] in
      let (device, issues) = make()
      body(device)
      return (device, issues)
    }
  }

  static func device(_ name: String, _ make: @escaping Make) -> Damage { Damage(name, make: make) }

  static let all = image + chunks + tree + journal + keys + inodes + maps + attributes + directories + intents + space
}

@Suite struct DamageTests {
  @Test(arguments: Damage.all) func isFoundAndNothingElse(_ damage: Damage) {
    let (device, expected) = damage.make()
    var checker = Checker(device: device)
    let report = checker.run()
    #expect(report.issues.map(\.message).sorted() == expected.map(\.message).sorted())
    #expect(Set(report.issues.map { "\($0)" }) == Set(expected.map { "\($0)" }))
    #expect(report.issueCount == expected.count)
  }

  /// Every case of `CheckIssue` is made by damage that makes it alone.
  @Test func everyKindIsMade() throws {
    let cases = try CheckIssueSource.cases()
    #expect(cases.count > 60)
    var alone: Set<String> = []
    for damage in Damage.all {
      let kinds = Set(damage.make().1.map(\.kind))
      if kinds.count == 1 { alone.formUnion(kinds) }
    }
    #expect(cases.subtracting(alone) == [])
  }

  @Test func messagesDiffer() {
    var seen: [String: String] = [:]
    for issue in Damage.all.flatMap({ $0.make().1 }) {
      #expect(!issue.message.isEmpty && !issue.message.hasSuffix("."))
      #expect(!issue.message.contains("\n"))
      if let other = seen[issue.message] { #expect(other == issue.kind) }
      seen[issue.message] = issue.kind
    }
  }
}
