/// Seals as users take them: ioctls on handles, extended attributes, processes that exit or are killed.

import CHoldfast
import CPlatform
import Glibc

extension MountedTarget {
  func performSeal(_ operation: Operation, _ model: ModelFilesystem) -> Outcome {
    switch operation {
    case .seal(let slot, let name, let spec):
      var argument = Self.argument(name, spec)
      let command = spec.range == nil ? holdfast_ioc_seal : holdfast_ioc_pin
      return answer(holdfast_ioctl(descriptors[slot], UInt(command), &argument))
    case .unseal(let slot, let name):
      var argument = Self.argument(name, SealSpec(.strict))
      return answer(holdfast_ioctl(descriptors[slot], UInt(holdfast_ioc_unseal), &argument))
    case .unpin(let slot, let name, let range):
      var argument = Self.argument(name, SealSpec(.strict, range: range))
      return answer(holdfast_ioctl(descriptors[slot], UInt(holdfast_ioc_unpin), &argument))
    case .sealNamed(let slot, _, let name, let spec):
      return setAttribute(descriptors[slot], name, Self.words(spec), createOnly: spec.createOnly)
    case .unsealNamed(let slot, _, let name) where isParked:
      // An extended attribute of that file could not be removed now (GROUND: the inode's lock in the kernel).
      var argument = Self.argument(name, SealSpec(.strict))
      argument.flags = HOLDFAST_SEAL_NAMED
      return answer(holdfast_ioctl(descriptors[slot], UInt(holdfast_ioc_unseal), &argument))
    case .unsealNamed(let slot, _, let name):
      return answer(withPath(Self.attribute(name)) { fremovexattr(descriptors[slot], $0) })
    case .sealProcess(let slot, let name, let process, let spec):
      if processes[process] == 0 {
        let child = holdfast_start_sleeper(lifeline[0])
        guard child > 0 else { return .failed(EAGAIN) }
        processes[process] = child
      }
      return setAttribute(
        descriptors[slot], name, Self.words(spec) + ["pid=\(processes[process])"], createOnly: spec.createOnly)
    case .sealTimed(let slot, let name, let spec): return sealTimed(descriptors[slot], name, spec)
    case .endProcess(let process):
      if processes[process] != 0 {
        holdfast_end_process(processes[process])
        processes[process] = 0
      }
      return .done()
    case .holderExit(let at, let spec, let killed):
      var argument = Self.argument(0, spec)
      let command = spec.range == nil ? holdfast_ioc_seal : holdfast_ioc_pin
      let code = withPath(path(at, model)) {
        holdfast_hold_in_child($0, UInt(command), &argument, killed ? 1 : 0)
      }
      return code == 0 ? .done() : .failed(code < 0 ? EAGAIN : code)
    case .fence: return waitForFences(model)
    case .revoke(let slot):
      var argument = holdfast_revoke()
      argument.version = UInt32(HOLDFAST_ABI_VERSION)
      return answer(holdfast_ioctl(descriptors[slot], UInt(holdfast_ioc_revoke), &argument))
    default: return .failed(ENOSYS)
    }
  }

  private static func argument(_ name: Int, _ spec: SealSpec) -> holdfast_seal {
    var argument = holdfast_seal()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    switch spec.preparation {
    case .strict: break
    case .fill: argument.flags |= HOLDFAST_SEAL_FILL
    case .asIs: argument.flags |= HOLDFAST_SEAL_AS_IS
    }
    if spec.createOnly { argument.flags |= HOLDFAST_SEAL_CREATE }
    if spec.breakable {
      argument.flags |= HOLDFAST_SEAL_BREAKABLE
      argument.grace_seconds = graceSeconds
    }
    if let range = spec.range {
      argument.offset = UInt64(range.lowerBound)
      argument.length = UInt64(range.count)
    }
    withUnsafeMutableBytes(of: &argument.name) { $0.copyBytes(from: Names.seal(name).utf8) }
    return argument
  }

  private static func attribute(_ name: Int) -> [UInt8] {
    Array((name == 0 ? "holdfast.seal" : "holdfast.seal.\(Names.seal(name))").utf8)
  }

  private static func words(_ spec: SealSpec) -> [String] {
    var words = spec.breakable ? ["breakable=\(graceSeconds)"] : ["hard"]
    switch spec.preparation {
    case .strict: break
    case .fill: words.append("fill")
    case .asIs: words.append("as-is")
    }
    if spec.persistent { words.append("persistent") }
    if let range = spec.range { words.append("range=\(range.lowerBound)+\(range.count)") }
    return words
  }

  private func setAttribute(_ file: Int32, _ name: Int, _ words: [String], createOnly: Bool) -> Outcome {
    // The short spelling of a plain request is tried, too.
    let value = Array((words == ["hard"] ? "1" : words.joined(separator: ",")).utf8)
    let outcome = answer(
      withPath(Self.attribute(name)) { fsetxattr(file, $0, value, value.count, createOnly ? Int32(XATTR_CREATE) : 0) })
    // setxattr(2) in Linux makes EOPNOTSUPP of EAGAIN (docs/SEMANTICS.md, Traps).
    return outcome.errno == EOPNOTSUPP ? .failed(EAGAIN) : outcome
  }

  /// One second: refusals while it stands, and gone soon after. ETIME when the one or the other fails.
  private func sealTimed(_ file: Int32, _ name: Int, _ spec: SealSpec) -> Outcome {
    let taken = setAttribute(file, name, Self.words(spec) + ["ttl=1"], createOnly: false)
    guard taken.errno == 0 else { return taken }
    var status = stat()
    guard fstat(file, &status) == 0 else { return .failed(errno) }
    let refused = ftruncate(file, status.st_size + 1)
    guard refused != 0, errno == ETXTBSY else { return .failed(ETIME) }
    for _ in 0..<400 {
      if withPath(Self.attribute(name), { fgetxattr(file, $0, nil, 0) }) < 0 {
        return errno == ENODATA ? .done() : .failed(errno)
      }
      usleep(10_000)
    }
    return .failed(ETIME)
  }

  // MARK: What stands, and the map

  /// Runs `body` with a virtual attribute's value; by a handle where one is open, else by name.
  private func value(_ attribute: String, of node: NodeID, _ model: ModelFilesystem) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: 65536)
    var count = -1
    if let slot = model.handles.firstIndex(where: { $0?.node == node }), descriptors[slot] >= 0 {
      count = fgetxattr(descriptors[slot], attribute, &bytes, bytes.count)
    } else if let path = path(of: node, model) {
      count = withPath(path) { getxattr($0, attribute, &bytes, bytes.count) }
    }
    return count < 0 ? nil : Array(bytes[..<count])
  }

  private func number(_ attribute: String, of node: NodeID, _ model: ModelFilesystem) -> UInt64? {
    value(attribute, of: node, model).flatMap { UInt64(String(decoding: $0, as: UTF8.self)) }
  }

  /// RELEASE is asynchronous, and so is the end of a process: the count may lag behind for a while.
  func sealCount(of node: NodeID, expecting expected: Int, _ model: ModelFilesystem) -> Int? {
    guard isHoldfast else { return nil }
    var found: Int?
    for wait in 0..<300 {
      found = number("holdfast.seal_count", of: node, model).map { Int($0) }
      if found == nil || found == expected { break }
      usleep(wait < 20 ? 500 : 10_000)
    }
    return found
  }

  func persistentSeals(of node: NodeID, _ model: ModelFilesystem) -> [ModelSeal] {
    guard let json = value("holdfast.holders", of: node, model) else { return [] }
    // One flat object a request; names hold no quotes.
    return String(decoding: json, as: UTF8.self).split(separator: "},{").compactMap { object in
      guard object.contains("\"lifetime\":\"persistent\"") else { return nil }
      let uid = Self.member("uid", of: object).flatMap { UInt32($0) } ?? .max
      let name = Self.member("name", of: object) ?? "?"
      var seal = ModelSeal(holder: .persistent(uid), name: (0..<10).first { Names.seal($0) == name } ?? -1)
      seal.isBreakable = Self.member("kind", of: object) == "breakable"
      if let start = Self.bytes("\"offset\":", in: object), let length = Self.bytes("\"length\":", in: object) {
        seal.blocks = TruthTable.blocks(start..<start + length)
      }
      return seal
    }
  }

  /// The number behind `key`.
  private static func bytes(_ key: String, in object: Substring) -> UInt64? {
    object.firstRange(of: key).flatMap { UInt64(object[$0.upperBound...].prefix { $0.isNumber }) }
  }

  // MARK: Recalls

  /// Seconds a holder has. Long enough for a busy machine to release in; short enough to wait for a fence now and then.
  private static let graceSeconds: UInt32 = 4

  /// Until every recall under way is over, by the clock.
  private func waitForFences(_ model: ModelFilesystem) -> Outcome {
    let recalled = model.seals.filter { $0.value.contains(where: \.isRecalled) }.keys
    for id in recalled {
      var patience = 1000
      while patience > 0, isRecallPending(on: id, model) {
        usleep(10_000)
        patience -= 1
      }
      if isRecallPending(on: id, model) { return .failed(ETIME) }
    }
    return .done()
  }

  /// Whether somebody who holds a request on the file is asked to let go.
  func isRecallPending(on id: NodeID, _ model: ModelFilesystem) -> Bool {
    guard let json = value("holdfast.holders", of: id, model) else { return false }
    return String(decoding: json, as: UTF8.self).split(separator: "},{").contains {
      Self.bytes("\"recall_ms\":", in: $0) != nil
    }
  }

  private static func member(_ name: String, of object: Substring) -> String? {
    guard let key = object.split(separator: ",").first(where: { $0.contains("\"\(name)\":") }) else { return nil }
    return key.split(separator: ":", maxSplits: 1).last.map { value in
      String(value.filter { $0 != "\"" && $0 != "}" && $0 != "]" })
    }
  }

  func map(of node: NodeID, _ model: ModelFilesystem) -> ObservedMap? {
    // One look: an operation that waited may be at work again meanwhile.
    var look: (generation: UInt64, text: [UInt8])?
    while look == nil {
      guard isHoldfast, let generation = number("holdfast.generation", of: node, model),
        let text = value("holdfast.extents", of: node, model),
        let after = number("holdfast.generation", of: node, model)
      else { return nil }
      if generation == after { look = (generation, text) }
    }
    guard let (generation, text) = look else { return nil }
    var map = ObservedMap(generation: generation)
    for line in text.split(separator: UInt8(ascii: "\n")) {
      let words = String(decoding: line, as: UTF8.self).split(separator: " ")
      guard words.count == 4, let logical = UInt64(words[0]), let physical = UInt64(words[1]),
        let length = UInt64(words[2])
      else { return nil }
      map.extents.append(
        MapExtent(logical: logical, physical: physical, length: length, isPlain: words[3] == "written"))
    }
    return map
  }
}
