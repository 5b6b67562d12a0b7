/// `holdfast.holders`, `holdfast.seals` and what `--json` shows of requests: one array of objects, members as in
/// docs/ABI.md.

import HoldfastBase

extension RequestInfo {
  public func write(to json: inout JSONWriter) {
    json.beginObject()
    json.member("inode", inode)
    json.member("kind", request.isBreakable ? "breakable" : "hard")
    json.key("range")
    if let blocks = request.scope.blocks {
      // What is held: bytes rounded outward to blocks.
      json.beginObject()
      json.member("offset", blocks.start << UInt64(Block.shift))
      json.member("length", blocks.count << UInt64(Block.shift))
      json.endObject()
    } else {
      json.null()
    }
    json.key("layout")
    if let layout = request.layout { json.value(layout.rawValue) } else { json.null() }
    json.member("name", request.name)
    json.member("pid", request.holderPid)
    json.member("uid", request.uid)
    json.member("command", request.command)
    json.member("age_ms", ageMilliseconds)
    json.member("generation", generation)
    json.member("lifetime", request.lifetime.description)
    json.member("handle_bound", request.isHandleBound)
    json.member("ttl_ms", ttlMilliseconds)
    json.member("recall_ms", recallMilliseconds)
    json.member("specification", request.specification.text)
    json.endObject()
  }

  public static func json(_ requests: [RequestInfo]) -> [UInt8] {
    var json = JSONWriter()
    json.beginArray()
    for request in requests { request.write(to: &json) }
    json.endArray()
    return json.finish()
  }
}

extension SealTable {
  /// `holdfast.holders` of one file.
  public func holdersJSON(of inode: InodeNumber) -> [UInt8] { RequestInfo.json(requests(of: inode)) }

  /// `holdfast.seals` of the mount.
  public func allHoldersJSON() -> [UInt8] { RequestInfo.json(allRequests()) }
}
