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
    out.member("issue_count", issueCount)
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
    out.member("total_blocks", totalBlocks)
    out.member("journal_blocks", journalBlocks)
    out.member("mount_count", mountCount)
    out.member("errors_seen", errorsSeen)
    out.member("unknown_read_only_features", unknownReadOnlyFeatures)
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
    out.member("used_blocks", usedBlocks)
    out.member("free_blocks", freeBlocks)
    out.member("quarantined_blocks", quarantinedBlocks)
    out.member("metadata_blocks", metadataBlocks)
    out.member("metadata_blocks_used", metadataBlocksUsed)
    out.member("journal_records", journalRecords)
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
        for field in fields.children { write(field.value, named: Self.snakeCase(field.label ?? "value"), to: &out) }
      }
    }
    out.endObject()
  }

  /// `byteOffset` becomes `byte_offset`, as everywhere in our JSON.
  private static func snakeCase(_ label: String) -> String {
    label.reduce(into: "") { $0 += $1.isUppercase ? "_\($1.lowercased())" : String($1) }
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
