import Testing

@testable import HoldfastCommand

@Suite struct SwapTableTests {
  private let table = """
    Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority
    /dev/sda2                               partition\t1000\t\t0\t\t-2
    /mnt/my\\040disk/swap                    file\t\t32764\t\t0\t\t-3

    """

  @Test func filesBelowADirectory() {
    #expect(SwapTable.file(below: "/mnt/my disk", in: table) == "/mnt/my disk/swap")
    #expect(SwapTable.file(below: "/", in: table) == "/dev/sda2")
    #expect(SwapTable.file(below: "/mnt/my", in: table) == nil)
    #expect(SwapTable.file(below: "/mnt", in: "Filename\n") == nil)
  }
}
