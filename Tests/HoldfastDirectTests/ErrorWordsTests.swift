import Glibc
import HoldfastDirect
import Testing

@testable import HoldfastClient

/// Every error of direct access says what, why, and what to do, in one line.
@Suite struct ErrorWordsTests {
  private func expect(_ error: DirectError, _ words: String..., image: String? = nil) {
    let text = ClientError(error, path: "/f", image: image).description
    #expect(text.hasPrefix("/f: cannot ") && !text.contains("\n"))
    for word in words { #expect(text.contains(word), "\(text)") }
  }

  @Test func words() {
    expect(DirectError(.openImage, errno: EACCES), "/image", "right to open the image", "SECURITY.md", image: "/image")
    expect(DirectError(.openImage, errno: ENOENT), "/image", "No such file", image: "/image")
    expect(DirectError(.openImage, errno: ENOTTY), "not a file on a Holdfast mount")
    expect(DirectError(.identify, .otherImage), "/other", "not the image that is mounted", image: "/other")
    expect(DirectError(.getLayout, errno: EPERM), "cannot get a layout", "seal_policy")
    expect(DirectError(.getLayout, errno: EAGAIN), "try again")
    expect(DirectError(.getLayout, errno: EBADF), "not open for")
    expect(DirectError(.getLayout, errno: ECONNABORTED), "daemon is gone")
    expect(DirectError(.map, errno: EOPNOTSUPP), "cannot map the blocks", "DAX")
    expect(DirectError(.map, errno: ESTALE), "taken away", "open the file again")
    expect(DirectError(.read, .outsideLayout), "cannot read", "not within the layout")
    expect(DirectError(.write, .readOnly), "cannot write", "for writing")
    var error = DirectError(.getLayout, .busy)
    error.busyCount = 9
    error.busy.0 = 12
    error.busy.6 = 34
    expect(error, "9 other handles", "process 12, 34", "shared")
    error = DirectError(.map, .tooManyPieces)
    error.pieces = 70_000
    expect(error, "70000 pieces", "holdfast prepare /f --contiguous", "holdfast.extsize")
    for (reason, words) in [(.hole, "a hole"), (.unwritten, "unwritten"), (.shared, "shared")]
      as [(DirectError.Reason, String)]
    {
      error = DirectError(.map, reason)
      (error.defectOffset, error.defectLength) = (8192, 4096)
      expect(error, words, "at byte 8192, 4096 bytes long", "holdfast prepare /f")
    }
  }

  @Test func onlyWhatWasTakenAwayIsFenced() {
    #expect(ClientError(DirectError(.map, .fenced), path: "/f").isFenced)
    #expect(!ClientError(DirectError(.map, .hole), path: "/f").isFenced)
  }
}
