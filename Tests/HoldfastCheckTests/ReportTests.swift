import Foundation
import HoldfastBase
import HoldfastFormat
import Testing

@testable import HoldfastCheck

@Suite struct ReportTests {
  private func json(_ device: MemoryDevice) throws -> [String: Any] {
    var checker = Checker(device: device)
    let parsed = try JSONSerialization.jsonObject(with: Data(checker.run().json))
    return try #require(parsed as? [String: Any])
  }

  @Test func soundVolume() throws {
    let report = try json(Sample.bare().build())
    #expect(report["outcome"] as? String == "complete")
    #expect(report["sound"] as? Bool == true && report["unclean"] as? Bool == false)
    #expect((report["totals"] as? [String: Any])?["inodes"] as? Int == 1)
    #expect((report["volume"] as? [String: Any])?["label"] as? String == "built")
    #expect((report["issues"] as? [Any])?.count == 0)
  }

  @Test func issuesCarryTheirNumbers() throws {
    for damage in Damage.all {
      let (device, expected) = damage.make()
      let report = try json(device)
      let issues = try #require(report["issues"] as? [[String: Any]])
      #expect(report["issue_count"] as? Int == expected.count)
      for issue in issues {
        #expect(issue["kind"] is String && issue["message"] is String)
        #expect(["notice", "warning", "error"].contains(issue["severity"] as? String))
        if issue["kind"] as? String != "rootMissing" { #expect(issue.count > 3, "\(issue)") }
      }
    }
    let device = Sample.image().build()
    device.flip(device.leaves[0], byte: 9)
    let issue = try #require((try json(device)["issues"] as? [[String: Any]])?.first)
    #expect(issue["kind"] as? String == "nodeInvalid")
    #expect(issue["block"] as? UInt64 == device.leaves[0])
  }

  @Test func theFirstThousandAreKeptAndAllAreCounted() {
    var image = Sample.bare()
    for number in 100..<InodeNumber(1300) { image.inode(number, .regular, links: 1) }
    image.nextInode = 2000
    image.leafLimit = 30
    image.fanout = 100
    var checker = Checker(device: image.build())
    let report = checker.run()
    #expect(report.issueCount == 1200 && report.issues.count == CheckReport.keptIssues)
    #expect(report.issues.last == .inodeUnreferenced(inode: 1099))
  }

  @Test func aLostLeafIsOneIssue() {
    for index in 0..<100 {
      let device = Sample.image().build()
      guard index < device.leaves.count else { break }
      device.flip(device.leaves[index], byte: 100)
      var checker = Checker(device: device)
      let report = checker.run()
      #expect(report.issues == [.nodeInvalid(block: device.leaves[index])])
      #expect(report.isPartial && !report.isSound)
    }
  }
}
