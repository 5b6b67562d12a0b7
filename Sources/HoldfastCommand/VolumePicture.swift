/// An image drawn as SVG: its blocks in rows from left to right and top to bottom, coloured by what they hold,
/// what requests hold hatched. Pure: the survey says what lies where.

import HoldfastBase

public struct VolumeSurvey: Equatable, Sendable {
  public enum Region: String, CaseIterable, Sendable { case superblock, journal, metadata, quarantine }

  /// What kind of request keeps blocks where they are.
  public enum Hold: CaseIterable, Sendable { case hard, breakable }

  /// Blocks of the image that a seal or a pin holds.
  public struct Held: Equatable, Sendable {
    public var blocks: BlockRange
    public var hold: Hold

    public init(blocks: BlockRange, hold: Hold) {
      self.blocks = blocks
      self.hold = hold
    }
  }

  public struct File: Equatable, Sendable {
    public var name: String
    /// Blocks of the image, in any order.
    public var blocks: [BlockRange]
    /// Those of them that requests hold: all, or what is pinned. In the order they are drawn.
    public var held: [Held]

    public init(name: String, blocks: [BlockRange], held: [Held] = []) {
      self.name = name
      self.blocks = blocks
      self.held = held
    }

    public var isHeld: Bool { !held.isEmpty }

    public var blockCount: UInt64 { blocks.reduce(0) { $0 + $1.count } }
  }

  public var title: String
  public var totalBlocks: UInt64
  public var regions: [(region: Region, blocks: BlockRange)]
  public var files: [File]
  /// What the reader must know about how complete the picture is.
  public var notes: [String]

  public init(title: String, totalBlocks: UInt64) {
    self.title = title
    self.totalBlocks = totalBlocks
    regions = []
    files = []
    notes = []
  }

  public static func == (a: VolumeSurvey, b: VolumeSurvey) -> Bool {
    a.title == b.title && a.totalBlocks == b.totalBlocks && a.files == b.files && a.notes == b.notes
      && a.regions.elementsEqual(b.regions, by: ==)
  }
}

public struct VolumePicture {
  private let survey: VolumeSurvey
  private let rows: Int
  private let blocksPerRow: UInt64
  private var body = ""

  private enum Layout {
    static let width = 1200, left = 70, top = 84, mapWidth = 1110, rowHeight = 16, rowStep = 20
    static let legendRow = 22, maximumRows = 40, legendFiles = 24
  }

  public static func svg(of survey: VolumeSurvey) -> String {
    var picture = VolumePicture(survey)
    return picture.draw()
  }

  private init(_ survey: VolumeSurvey) {
    self.survey = survey
    rows = Int(min(UInt64(Layout.maximumRows), max(1, survey.totalBlocks)))
    blocksPerRow = max(1, (survey.totalBlocks + UInt64(rows) - 1) / UInt64(rows))
  }

  private mutating func draw() -> String {
    drawRows()
    drawPieces()
    let legendTop = Layout.top + rows * Layout.rowStep + 14
    let height = drawLegend(from: legendTop)
    return """
      <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(Layout.width) \(height)" width="\(Layout.width)" \
      height="\(height)" font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="13" fill="#222">
      <defs><pattern id="sealed" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">\
      <rect width="2.2" height="6" fill="#000" fill-opacity="0.65"/></pattern>\
      <pattern id="breakable" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(-45)">\
      <rect width="1.4" height="3.4" fill="#000" fill-opacity="0.65"/></pattern></defs>
      <rect width="\(Layout.width)" height="\(height)" fill="#fff"/>
      <text x="\(Layout.left)" y="34" font-size="20" font-weight="bold">\(Self.escape(survey.title))</text>
      <text x="\(Layout.left)" y="58">\(summary)</text>
      \(body)</svg>

      """
  }

  private var summary: String {
    let used = survey.files.reduce(0) { $0 + $1.blockCount }
    let held = survey.files.filter(\.isHeld)
    let size = ByteSize(bytes: survey.totalBlocks * UInt64(Block.size))
    let row = ByteSize(bytes: blocksPerRow * UInt64(Block.size))
    return "\(size), a row is \(row); \(survey.files.count) files hold \(ByteSize(bytes: used * UInt64(Block.size)))"
      + "; \(held.count) sealed or pinned"
  }

  private mutating func drawRows() {
    for row in 0..<rows {
      let y = Layout.top + row * Layout.rowStep
      let offset = ByteSize(bytes: UInt64(row) * blocksPerRow * UInt64(Block.size))
      let count = min(blocksPerRow, survey.totalBlocks - min(survey.totalBlocks, UInt64(row) * blocksPerRow))
      if count == 0 { continue }
      body +=
        "<text x=\"\(Layout.left - 6)\" y=\"\(y + 12)\" font-size=\"10\" text-anchor=\"end\" fill=\"#777\">\(offset)</text>\n"
      body +=
        "<rect x=\"\(Layout.left)\" y=\"\(y)\" width=\"\(Self.text(width(count)))\" height=\"\(Layout.rowHeight)\" "
      body += "fill=\"\(Self.freeColour)\"/>\n"
    }
  }

  private struct Piece {
    var blocks: BlockRange
    var colour: String
    var hold: VolumeSurvey.Hold?
    var title: String
    /// Pixels: a superblock is one block, and to be seen.
    var minimumWidth = 0.8
  }

  private mutating func drawPieces() {
    var pieces = survey.regions.map {
      Piece(
        blocks: $0.blocks, colour: Self.colour(of: $0.region), hold: nil, title: $0.region.rawValue, minimumWidth: 3)
    }
    for file in survey.files {
      let colour = Self.colour(of: file)
      pieces += file.blocks.map { Piece(blocks: $0, colour: colour, hold: nil, title: file.name) }
    }
    pieces.sort { $0.blocks.start < $1.blocks.start }
    for file in survey.files {
      pieces += file.held.map {
        Piece(
          blocks: $0.blocks, colour: Self.colour(of: file), hold: $0.hold,
          title: "\(file.name) (\(Self.title(of: $0.hold)))")
      }
    }
    // One piece per pixel at most, so that millions of extents still make a file one can open; what is held
    // is always drawn.
    var lastPixel = -1
    for piece in pieces {
      for (row, part) in split(piece.blocks) {
        let x = Double(Layout.left) + width(part.start - UInt64(row) * blocksPerRow)
        let extent = width(part.count)
        let pixel = row * Layout.width + Int(x)
        if extent < 1 && pixel == lastPixel && piece.hold == nil { continue }
        if extent < 1 { lastPixel = pixel }
        drawPart(piece, x: x, y: Layout.top + row * Layout.rowStep, width: max(extent, piece.minimumWidth))
      }
    }
  }

  private mutating func drawPart(_ piece: Piece, x: Double, y: Int, width: Double) {
    let box = "x=\"\(Self.text(x))\" y=\"\(y)\" width=\"\(Self.text(width))\" height=\"\(Layout.rowHeight)\""
    let title = "<title>\(Self.escape(piece.title))</title>"
    body += "<rect \(box) fill=\"\(piece.colour)\">\(title)</rect>\n"
    if let hold = piece.hold {
      body += "<rect \(box) fill=\"\(Self.hatch(hold))\" stroke=\"#000\" stroke-width=\"1.2\">\(title)</rect>\n"
    }
  }

  /// The parts of a range by row.
  private func split(_ range: BlockRange) -> [(row: Int, part: BlockRange)] {
    var parts: [(Int, BlockRange)] = []
    var start = range.start
    let end = min(range.end, survey.totalBlocks)
    while start < end {
      let row = start / blocksPerRow
      let stop = min(end, (row + 1) * blocksPerRow)
      parts.append((Int(row), BlockRange(from: start, to: stop)))
      start = stop
    }
    return parts
  }

  private func width(_ blocks: UInt64) -> Double { Double(blocks) / Double(blocksPerRow) * Double(Layout.mapWidth) }

  /// Draws what the colours mean; the height of the picture.
  private mutating func drawLegend(from top: Int) -> Int {
    var entries: [(colour: String, hold: VolumeSurvey.Hold?, text: String)] = VolumeSurvey.Region.allCases.map {
      (Self.colour(of: $0), nil, $0.rawValue)
    }
    entries.append((Self.freeColour, nil, "free"))
    entries.append(("#ffffff", .hard, "sealed: the map cannot change"))
    entries.append(("#ffffff", .breakable, "breakable: until asked for"))
    let bySize = survey.files.sorted { ($0.isHeld ? 1 : 0, $0.blockCount) > ($1.isHeld ? 1 : 0, $1.blockCount) }
    for file in bySize.prefix(Layout.legendFiles) {
      let size = ByteSize(bytes: file.blockCount * UInt64(Block.size))
      entries.append((Self.colour(of: file), file.held.last?.hold, "\(Self.shortened(file.name)) \(size)"))
    }
    let columns = 3
    let columnWidth = (Layout.width - Layout.left) / columns
    for (index, entry) in entries.enumerated() {
      let x = Layout.left + index % columns * columnWidth
      let y = top + index / columns * Layout.legendRow
      let box = "x=\"\(x)\" y=\"\(y)\" width=\"26\" height=\"14\" stroke=\"#444\" stroke-width=\"0.8\""
      body += "<rect \(box) fill=\"\(entry.colour)\"/>"
      if let hold = entry.hold { body += "<rect \(box) fill=\"\(Self.hatch(hold))\"/>" }
      body += "<text x=\"\(x + 34)\" y=\"\(y + 12)\">\(Self.escape(entry.text))</text>\n"
    }
    var y = top + (entries.count + columns - 1) / columns * Layout.legendRow + 12
    var notes = survey.notes
    if bySize.count > Layout.legendFiles {
      notes.append("Listed: the held and the largest \(Layout.legendFiles) of \(bySize.count) files.")
    }
    for note in notes {
      body += "<text x=\"\(Layout.left)\" y=\"\(y + 8)\" fill=\"#555\">\(Self.escape(note))</text>\n"
      y += 18
    }
    return y + 12
  }

  private static func hatch(_ hold: VolumeSurvey.Hold) -> String {
    switch hold {
    case .hard: "url(#sealed)"
    case .breakable: "url(#breakable)"
    }
  }

  private static func title(of hold: VolumeSurvey.Hold) -> String {
    switch hold {
    case .hard: "sealed"
    case .breakable: "breakable"
    }
  }

  private static let freeColour = "#eef0f2"

  private static func colour(of region: VolumeSurvey.Region) -> String {
    switch region {
    case .superblock: "#b3261e"
    case .journal: "#7a5c00"
    case .metadata: "#4b4f58"
    case .quarantine: "#ff00aa"
    }
  }

  /// From the file's name, so that it keeps its colour from picture to picture.
  private static func colour(of file: VolumeSurvey.File) -> String {
    var hash: UInt32 = 2_166_136_261
    for byte in file.name.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
    hash ^= hash >> 15
    let hue = Double(hash % 360)
    return rgb(
      hue: hue, saturation: 0.55 + Double(hash / 360 % 3) * 0.1, lightness: 0.55 + Double(hash / 1080 % 3) * 0.07)
  }

  private static func rgb(hue: Double, saturation: Double, lightness: Double) -> String {
    func channel(_ n: Double) -> Int {
      let k = (n + hue / 30).truncatingRemainder(dividingBy: 12)
      let a = saturation * min(lightness, 1 - lightness)
      return Int(((lightness - a * max(-1, min(k - 3, 9 - k, 1))) * 255).rounded())
    }
    return "#"
      + [0, 8, 4].map { n in
        let digits = String(channel(n), radix: 16)
        return digits.count < 2 ? "0" + digits : digits
      }.joined()
  }

  /// Two digits behind the point.
  private static func text(_ value: Double) -> String {
    let hundredths = Int((value * 100).rounded())
    let fraction = hundredths % 100
    return fraction == 0 ? "\(hundredths / 100)" : "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction)"
  }

  private static func shortened(_ name: String) -> String { name.count <= 34 ? name : "…" + name.suffix(33) }

  private static func escape(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "&": result += "&amp;"
      case "<": result += "&lt;"
      case ">": result += "&gt;"
      case "\"": result += "&quot;"
      default: result.unicodeScalars.append(scalar.value < 0x20 || scalar.value == 0x7f ? "\u{fffd}" : scalar)
      }
    }
    return result
  }
}
