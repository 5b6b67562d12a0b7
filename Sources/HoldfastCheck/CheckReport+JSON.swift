/// The report as one JSON object, documented in docs/FORMAT.md: what `holdfast fsck --json` prints.

import HoldfastBase
import HoldfastFormat

extension CheckReport {
  public var json: [UInt8] {
    var out = JSONWriter()
    out.beginObject()
    write(to: &out)
    out.endObject()
    return out.finish()
  }

  /// Writes the members of the object, for a caller that has some of its own to add.
  public func write(to out: inout JSONWriter) {
    switch outcome {
    case .complete: out.member("outcome", "complete")
    case .notAnImage: out.member("outcome", "not-an-image")
    case .incompatible(let features):
      out.member("outcome", "incompatible")
      out.member("features", features)
    case .unusable: out.member("outcome", "unusable")
    }
    out.member("sound", isSound)
    out.member("partial", isPartial)
    out.member("unclean", wasUnclean)
    out.key("volume")
    if let volume { volume.write(to: &out) } else { out.null() }
    out.key("totals")
    totals.write(to: &out)
    out.member("issueCount", issueCount)
    out.key("issues")
    out.beginArray()
    for issue in issues { issue.write(to: &out) }
    out.endArray()
  }
}

extension CheckReport.Volume {
  func write(to out: inout JSONWriter) {
    out.beginObject()
    out.member("uuid", uuid)
    out.member("label", label)
    out.member("generation", generation)
    out.member("totalBlocks", totalBlocks)
    out.member("journalBlocks", journalBlocks)
    out.member("mountCount", mountCount)
    out.member("errorsSeen", errorsSeen)
    out.member("unknownReadOnlyFeatures", unknownReadOnlyFeatures)
    out.endObject()
  }
}

extension CheckReport.Totals {
  func write(to out: inout JSONWriter) {
    out.beginObject()
    out.member("inodes", inodes)
    out.member("files", files)
    out.member("directories", directories)
    out.member("symlinks", symlinks)
    out.member("specials", specials)
    out.member("orphans", orphans)
    out.member("extents", extents)
    out.member("usedBlocks", usedBlocks)
    out.member("freeBlocks", freeBlocks)
    out.member("quarantinedBlocks", quarantinedBlocks)
    out.member("metadataBlocks", metadataBlocks)
    out.member("metadataBlocksUsed", metadataBlocksUsed)
    out.member("journalRecords", journalRecords)
    out.endObject()
  }
}

extension CheckIssue {
  /// Kind, severity, message, and the case's numbers under their own names.
  func write(to out: inout JSONWriter) {
    out.beginObject()
    out.member("kind", kind)
    out.member("severity", severity.rawValue)
    out.member("message", message)
    if let payload = Mirror(reflecting: self).children.first?.value {
      let fields = Mirror(reflecting: payload)
      if let key = payload as? Key {
        out.member("key", key.told)
      } else {
        for field in fields.children { write(field.value, named: field.label ?? "value", to: &out) }
      }
    }
    out.endObject()
  }

  private func write(_ value: Any, named name: String, to out: inout JSONWriter) {
    switch value {
    case let number as UInt64: out.member(name, number)
    case let number as UInt32: out.member(name, number)
    case let number as Int32: out.member(name, number)
    case let number as Int: out.member(name, number)
    default: out.member(name, "\(value)")
    }
  }
}
