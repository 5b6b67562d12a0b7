/// The report as one JSON object, documented in docs/FORMAT.md: the check's, with a member `repair`.

import HoldfastBase

extension RepairReport {
  public var json: [UInt8] {
    var out = JSONWriter()
    out.beginObject()
    before.write(to: &out)
    out.key("repair")
    out.beginObject()
    out.member("outcome", outcomeName)
    out.member("note_count", noteCount)
    out.member("loss_count", lossCount)
    out.key("notes")
    out.beginArray()
    for entry in entries {
      out.beginObject()
      out.member("kind", entry.note.kind)
      out.member("grade", entry.note.grade.rawValue)
      out.member("message", entry.note.message)
      out.member("path", entry.path)
      out.endObject()
    }
    out.endArray()
    out.key("after")
    if let after {
      out.beginObject()
      after.write(to: &out)
      out.endObject()
    } else {
      out.null()
    }
    out.endObject()
    out.endObject()
    return out.finish()
  }

  private var outcomeName: String {
    switch outcome {
    case .notNeeded: "not-needed"
    case .repaired: "repaired"
    case .refused(let refusal): refusal.name
    case .impossible: "impossible"
    case .failed: "failed"
    }
  }
}

extension RepairReport.Refusal {
  fileprivate var name: String {
    switch self {
    case .needsDecision: "needs-decision"
    case .noSpace: "no-space"
    case .imageTruncated: "image-truncated"
    case .unknownFeatures: "unknown-features"
    case .generationsUsedUp: "generations-used-up"
    }
  }
}
