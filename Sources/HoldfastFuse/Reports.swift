/// What the daemon tells of itself, as JSON: `holdfast.stats` and HOLDFAST_IOC_INFO. docs/ABI.md and
/// docs/ABI.md name the members.

import Glibc
import HoldfastBase
import HoldfastSeal
import HoldfastStore

extension MountSession {
  /// `holdfast.stats`.
  func statisticsJSON() -> [UInt8] {
    var json = JSONWriter()
    json.beginObject()
    json.key("operations")
    json.beginObject()
    for operation in Operation.allCases {
      let (count, failures) = counters.value(operation)
      if count == 0 { continue }
      json.key(String(describing: operation))
      json.beginObject()
      json.member("count", count)
      json.member("failed", failures)
      json.endObject()
    }
    json.endObject()
    json.key("refusals")
    store.seals.refusals.write(to: &json)
    json.member("seals", store.seals.totalCount)
    json.member("waiting_operations", parkingLot.count)
    json.key("recalls")
    store.seals.recallCounters.write(to: &json)
    json.member("open_handles", handles.count)
    store.statistics.write(to: &json)
    json.key("usage")
    store.usage.write(to: &json)
    store.health.write(to: &json)
    json.endObject()
    return json.finish()
  }

  /// HOLDFAST_IOC_INFO.
  func informationJSON() -> [UInt8] {
    let superblock = store.superblock
    var json = JSONWriter()
    json.beginObject()
    json.member("pid", getpid())
    json.member("image", image)
    json.member("mountpoint", mountPoint)
    json.member("label", superblock.label)
    json.member("uuid", superblock.id.description)
    json.member("options", options.list)
    json.member("read_only", options.readOnly || store.isReadOnly)
    store.health.write(to: &json)
    json.member("errors_seen", superblock.state.contains(.errors) || store.health != .sound)
    json.key("usage")
    store.usage.write(to: &json)
    json.member("seals", store.seals.totalCount)
    json.key("quarantine")
    json.beginArray()
    for held in store.heldQuarantine(limit: Self.listedInodes) { held.write(to: &json) }
    json.endArray()
    json.endObject()
    return json.finish()
  }

  /// Inodes with blocks in quarantine that are listed: enough to find out who keeps the most.
  private static let listedInodes = 100
}

extension HeldBlocks {
  fileprivate func write(to json: inout JSONWriter) {
    json.beginObject()
    json.member("inode", inode)
    json.member("blocks", blocks)
    json.member("leased", isLeased)
    json.member("kernel", isKnownToKernel)
    json.key("pids")
    json.beginArray()
    for pid in fencedProcesses { json.value(pid) }
    json.endArray()
    json.endObject()
  }
}

extension VolumeStatistics {
  /// The members `cache`, `journal` and `checkpoint` of an object that is open.
  fileprivate func write(to json: inout JSONWriter) {
    json.key("cache")
    json.beginObject()
    json.member("bytes", cacheBytes)
    json.member("limit_bytes", cacheLimitBytes)
    json.member("hits", cacheHits)
    json.member("misses", cacheMisses)
    json.member("dirty_nodes", dirtyNodes)
    json.endObject()
    json.key("journal")
    json.beginObject()
    json.member("used_blocks", journalUsedBlocks)
    json.member("blocks", journalBlocks)
    json.endObject()
    json.member("checkpoint", checkpoint)
  }
}

extension Store.Health {
  /// The members `state` and `failure` of an object that is open.
  fileprivate func write(to json: inout JSONWriter) {
    switch self {
    case .sound:
      json.member("state", "sound")
      json.member("failure", "")
    case .readOnly(let error):
      json.member("state", "read-only")
      json.member("failure", "\(error)")
    case .shutDown(let error):
      json.member("state", "shut-down")
      json.member("failure", "\(error)")
    }
  }
}

extension VolumeUsage {
  func write(to json: inout JSONWriter) {
    json.beginObject()
    json.member("block_size", Block.size)
    json.member("total_blocks", totalBlocks)
    json.member("free_blocks", freeBlocks)
    json.member("quarantined_blocks", quarantinedBlocks)
    json.member("inodes", inodes)
    json.endObject()
  }
}
