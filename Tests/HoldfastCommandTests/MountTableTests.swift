import HoldfastCommand
import Testing

@Suite struct MountTableTests {
  private let table = MountTable(
    parsing: """
      22 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
      40 22 0:44 / /mnt/a\\040b rw,nosuid,nodev,noatime shared:5 - fuse.holdfast /srv/one\\134two.img rw,user_id=0
      41 22 0:45 / /mnt/other rw - fuse.sshfs host: rw
      42 22 0:46 / /mnt/under rw - fuse.holdfast /srv/u.img rw
      43 42 0:47 / /mnt/under rw - tmpfs tmpfs rw
      damaged line

      """)

  @Test func fieldsAndEscapes() throws {
    #expect(table.entries.count == 5)
    let entry = try #require(table.holdfast(at: "/mnt/a b"))
    #expect(entry.source == "/srv/one\\two.img")
    #expect(entry.options == ["rw", "nosuid", "nodev", "noatime"])
    #expect(entry.device == "0:44")
  }

  @Test func onlyTheTopMountOfADirectoryCounts() {
    #expect(table.holdfast(at: "/mnt/under") == nil)
    #expect(table.holdfast(at: "/mnt/other") == nil)
    #expect(table.holdfast(at: "/mnt") == nil)
    #expect(table.holdfast(ofImage: "/srv/u.img").map(\.mountPoint) == ["/mnt/under"])
  }
}
