import Glibc
import Testing

@testable import HoldfastFuse

@Suite struct HandleTableTests {
  @Test func idsAreNeverReused() {
    let table = HandleTable()
    var seen: Set<UInt64> = []
    for round in 0..<1000 {
      let id = table.insert(Handle(inode: UInt64(round), flags: O_RDONLY))
      #expect(id != 0)
      #expect(seen.insert(id).inserted)
      #expect(table[id]?.inode == UInt64(round))
      #expect(table.remove(id)?.inode == UInt64(round))
      #expect(table[id] == nil)
      #expect(table.remove(id) == nil)
    }
    #expect(table.count == 0)
  }

  @Test func thoseOnOneInode() {
    let table = HandleTable()
    let ids = (0..<10).map { table.insert(Handle(inode: UInt64($0 % 2), flags: O_RDWR)) }
    #expect(table.ids(on: 1) == [ids[1], ids[3], ids[5], ids[7], ids[9]])
    _ = table.remove(ids[3])
    #expect(table.ids(on: 1) == [ids[1], ids[5], ids[7], ids[9]] && table.ids(on: 2) == [])
  }

  @Test func manyAtOnce() {
    let table = HandleTable()
    let ids = (0..<1000).map { table.insert(Handle(inode: UInt64($0), flags: O_RDWR)) }
    #expect(Set(ids).count == 1000 && table.count == 1000)
    for (index, id) in ids.enumerated() where index % 2 == 0 { _ = table.remove(id) }
    #expect(table.count == 500)
    for (index, id) in ids.enumerated() { #expect((table[id] != nil) == (index % 2 == 1)) }
  }

  @Test func unknownIds() {
    let table = HandleTable()
    for id: UInt64 in [0, 1, 1 << 32, .max] {
      #expect(table[id] == nil)
      #expect(table.remove(id) == nil)
    }
  }

  @Test(arguments: [(O_RDONLY, false), (O_WRONLY, true), (O_RDWR, true), (O_RDONLY | O_TRUNC, false)])
  func whichHandlesWrite(flags: Int32, writes: Bool) { #expect(Handle(inode: 1, flags: flags).isWriting == writes) }
}
