import HoldfastBase
import HoldfastCommand
import Testing

@Suite struct VolumePictureTests {
  @Test func drawsRegionsFilesAndSeals() {
    var survey = VolumeSurvey(title: "a <b> & c", totalBlocks: 4096)
    survey.regions = [(.superblock, BlockRange(start: 0, count: 1)), (.journal, BlockRange(start: 257, count: 1024))]
    survey.files = [
      .init(name: "/plain", isSealed: false, blocks: [BlockRange(start: 2000, count: 50)]),
      .init(name: "/sealed", isSealed: true, blocks: [BlockRange(start: 3000, count: 1)]),
    ]
    survey.notes = ["a note"]
    let svg = VolumePicture.svg(of: survey)
    #expect(svg.hasPrefix("<svg") && svg.hasSuffix("</svg>\n"))
    #expect(svg.contains("a &lt;b&gt; &amp; c") && svg.contains("a note"))
    #expect(svg.contains("<title>/plain</title>") && svg.contains("<title>/sealed (sealed)</title>"))
    #expect(svg.contains("url(#sealed)"))
  }

  @Test func sizeStaysBoundedWithMillionsOfExtents() {
    var survey = VolumeSurvey(title: "many", totalBlocks: 1 << 24)
    let blocks = (0..<1_000_000).map { BlockRange(start: UInt64($0) * 16, count: 1) }
    survey.files = [.init(name: "/f", isSealed: false, blocks: blocks)]
    #expect(VolumePicture.svg(of: survey).utf8.count < 16 << 20)
  }

  @Test func rangesBeyondTheVolumeAreCut() {
    var survey = VolumeSurvey(title: "odd", totalBlocks: 7)
    survey.files = [.init(name: "/f", isSealed: true, blocks: [BlockRange(start: 5, count: 1 << 40)])]
    #expect(VolumePicture.svg(of: survey).contains("/f"))
  }
}
