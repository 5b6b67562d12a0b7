import HoldfastBase
import HoldfastClient
import HoldfastCommand
import Testing

@Suite struct VolumePictureTests {
  @Test func drawsRegionsFilesAndSeals() {
    var survey = VolumeSurvey(title: "a <b> & c", totalBlocks: 4096)
    survey.regions = [(.superblock, BlockRange(start: 0, count: 1)), (.journal, BlockRange(start: 257, count: 1024))]
    survey.files = [
      .init(name: "/plain", blocks: [BlockRange(start: 2000, count: 50)]),
      .init(
        name: "/sealed", blocks: [BlockRange(start: 3000, count: 1)],
        held: [.init(blocks: BlockRange(start: 3000, count: 1), hold: .hard)]),
    ]
    survey.notes = ["a note"]
    let svg = VolumePicture.svg(of: survey)
    #expect(svg.hasPrefix("<svg") && svg.hasSuffix("</svg>\n"))
    #expect(svg.contains("a &lt;b&gt; &amp; c") && svg.contains("a note"))
    #expect(svg.contains("<title>/plain</title>") && svg.contains("<title>/sealed (sealed)</title>"))
    // In the file and in the legend, twice; the other kind only where it is explained.
    #expect(svg.occurrences(of: "url(#sealed)") == 3 && svg.occurrences(of: "url(#breakable)") == 1)
  }

  @Test func pinsAreMarkedWhereTheyAre() {
    let extents = [
      MappedExtent(logical: 0, physical: 100 << 12, length: 8 << 12),
      MappedExtent(logical: 16 << 12, physical: 300 << 12, length: 8 << 12),
    ]
    func held(_ requests: [(kind: VolumeSurvey.Hold, bytes: Range<UInt64>?)]) -> [VolumeSurvey.Held] {
      HeldRanges(requests).pieces(of: extents)
    }
    func piece(_ start: UInt64, _ count: UInt64, _ hold: VolumeSurvey.Hold) -> VolumeSurvey.Held {
      .init(blocks: BlockRange(start: start, count: count), hold: hold)
    }
    #expect(held([]) == [])
    #expect(held([(.hard, nil)]) == [piece(100, 8, .hard), piece(300, 8, .hard)])
    // Overlapping pins are one; the hole between the extents has nothing to mark.
    #expect(
      held([(.hard, 4096..<12288), (.hard, 8192..<(18 << 12)), (.hard, 1 << 30..<1 << 31)])
        == [piece(101, 7, .hard), piece(300, 2, .hard)])
    #expect(
      held([(.hard, 0..<4096), (.hard, 8192..<12288), (.breakable, nil)])
        == [piece(100, 8, .breakable), piece(300, 8, .breakable), piece(100, 1, .hard), piece(102, 1, .hard)])
    var survey = VolumeSurvey(title: "pins", totalBlocks: 4096)
    survey.files = [
      .init(name: "/f", blocks: extents.map(\.imageBlocks), held: held([(.hard, 0..<4096), (.breakable, nil)]))
    ]
    let svg = VolumePicture.svg(of: survey)
    #expect(svg.contains("<title>/f (sealed)</title>") && svg.contains("<title>/f (breakable)</title>"))
  }

  @Test func sizeStaysBoundedWithMillionsOfExtents() {
    var survey = VolumeSurvey(title: "many", totalBlocks: 1 << 24)
    let blocks = (0..<1_000_000).map { BlockRange(start: UInt64($0) * 16, count: 1) }
    survey.files = [.init(name: "/f", blocks: blocks)]
    #expect(VolumePicture.svg(of: survey).utf8.count < 16 << 20)
  }

  @Test func rangesBeyondTheVolumeAreCut() {
    var survey = VolumeSurvey(title: "odd", totalBlocks: 7)
    let all = BlockRange(start: 5, count: 1 << 40)
    survey.files = [.init(name: "/f", blocks: [all], held: [.init(blocks: all, hold: .hard)])]
    #expect(VolumePicture.svg(of: survey).contains("/f"))
  }
}

extension String {
  /// How often `part` stands in it.
  fileprivate func occurrences(of part: String) -> Int { ranges(of: part).count }
}
