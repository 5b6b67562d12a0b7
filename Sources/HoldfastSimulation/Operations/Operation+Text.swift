/// One operation as one line of a log, both ways: a word and numbers. Places are written `directory/name`.

extension Operation: CustomStringConvertible {
  public var description: String {
    switch self {
    case .create(let at, let handle, let mode): "create \(at) h\(handle) \(mode)"
    case .open(let at, let handle, let access): "open \(at) h\(handle) \(access.rawValue)"
    case .close(let handle): "close h\(handle)"
    case .makeDirectory(let at, let slot): "mkdir \(at) \(slot)"
    case .removeDirectory(let at): "rmdir \(at)"
    case .unlink(let at): "unlink \(at)"
    case .rename(let from, let to, let flags): "rename \(from) \(to) \(flags)"
    case .link(let from, let to): "link \(from) \(to)"
    case .symlink(let at, let length, let tag): "symlink \(at) \(length) \(tag)"
    case .readSymlink(let at): "readlink \(at)"
    case .list(let directory): "list \(directory)"
    case .status(let at): "stat \(at)"
    case .read(let handle, let offset, let length): "read h\(handle) \(offset) \(length)"
    case .write(let handle, let offset, let length, let tag): "write h\(handle) \(offset) \(length) \(tag)"
    case .append(let handle, let length, let tag): "append h\(handle) \(length) \(tag)"
    case .truncate(let handle, let size): "truncate h\(handle) \(size)"
    case .truncateName(let at, let size): "truncate-name \(at) \(size)"
    case .allocate(let handle, let mode, let offset, let length): "fallocate h\(handle) \(mode) \(offset) \(length)"
    case .copy(let from, let offset, let to, let toOffset, let length):
      "copy h\(from) \(offset) h\(to) \(toOffset) \(length)"
    case .seek(let handle, let offset, let hole): "seek h\(handle) \(offset) \(hole ? 1 : 0)"
    case .relocate(let handle, let offset, let length, let alignment):
      "relocate h\(handle) \(offset) \(length) \(alignment)"
    case .sync(let handle, let dataOnly): "sync h\(handle) \(dataOnly ? 1 : 0)"
    case .syncDirectory(let slot): "sync-directory \(slot)"
    case .syncAll: "sync-all"
    case .mapRead(let handle, let offset, let length): "map-read h\(handle) \(offset) \(length)"
    case .mapWrite(let handle, let offset, let length, let tag): "map-write h\(handle) \(offset) \(length) \(tag)"
    case .setMode(let handle, let mode): "chmod h\(handle) \(mode)"
    case .setXattr(let handle, let name, let length, let tag, let mode):
      "setxattr h\(handle) \(name) \(length) \(tag) \(mode)"
    case .getXattr(let handle, let name): "getxattr h\(handle) \(name)"
    case .removeXattr(let handle, let name): "removexattr h\(handle) \(name)"
    case .listXattrs(let handle): "listxattr h\(handle)"
    case .seal(let handle, let name, let spec): "seal h\(handle) \(name) \(spec)"
    case .unseal(let handle, let name): "unseal h\(handle) \(name)"
    case .sealNamed(let handle, let user, let name, let spec): "seal-named h\(handle) \(user) \(name) \(spec)"
    case .unsealNamed(let handle, let user, let name): "unseal-named h\(handle) \(user) \(name)"
    case .sealProcess(let handle, let name, let process, let spec):
      "seal-process h\(handle) \(name) \(process) \(spec)"
    case .endProcess(let process): "end-process \(process)"
    case .sealTimed(let handle, let name, let spec): "seal-timed h\(handle) \(name) \(spec)"
    case .holderExit(let at, let spec, let killed): "holder-exit \(at) \(spec) \(killed ? 1 : 0)"
    case .unpin(let handle, let name, let range): "unpin h\(handle) \(name) \(range.lowerBound) \(range.count)"
    case .fence: "fence"
    case .revoke(let handle): "revoke h\(handle)"
    case .become(let process): "become \(process)"
    case .waiting(let operation, let patience): "waiting \(patience.rawValue) \(operation)"
    case .housekeep: "housekeep"
    case .resize(let mebibytes): "resize \(mebibytes)"
    case .remount: "remount"
    case .crash(let events, let seed): "crash \(events) \(seed)"
    case .deviceError(let kind, let after, let seed): "device-error \(kind) \(after) \(seed)"
    case .mediaFault(let kind, let choice, let length): "media-fault \(kind) \(choice) \(length)"
    }
  }

  /// Reads a line as `description` writes it; nil when it is none.
  public init?(line: some StringProtocol) {
    var words = Words(line)
    guard let operation = Operation.parse(words.word(), &words), words.isWhole else { return nil }
    self = operation
  }

  fileprivate static func parse(_ verb: Substring, _ w: inout Words) -> Operation? {
    switch verb {
    case "create": .create(w.place(), handle: w.handle(), mode: w.number())
    case "open": .open(w.place(), handle: w.handle(), Access(rawValue: w.number()))
    case "close": .close(handle: w.handle())
    case "mkdir": .makeDirectory(w.place(), slot: w.number())
    case "rmdir": .removeDirectory(w.place())
    case "unlink": .unlink(w.place())
    case "rename": .rename(w.place(), to: w.place(), flags: w.number())
    case "link": .link(w.place(), to: w.place())
    case "symlink": .symlink(w.place(), length: w.number(), tag: w.number())
    case "readlink": .readSymlink(w.place())
    case "list": .list(directory: w.number())
    case "stat": .status(w.place())
    case "read": .read(handle: w.handle(), offset: w.number(), length: w.number())
    case "write": .write(handle: w.handle(), offset: w.number(), length: w.number(), tag: w.number())
    case "append": .append(handle: w.handle(), length: w.number(), tag: w.number())
    case "truncate": .truncate(handle: w.handle(), size: w.number())
    case "truncate-name": .truncateName(w.place(), size: w.number())
    case "fallocate": .allocate(handle: w.handle(), mode: w.number(), offset: w.number(), length: w.number())
    case "copy":
      .copy(handle: w.handle(), offset: w.number(), to: w.handle(), toOffset: w.number(), length: w.number())
    case "relocate":
      .relocate(handle: w.handle(), offset: w.number(), length: w.number(), alignment: w.number())
    case "seek": .seek(handle: w.handle(), offset: w.number(), hole: w.flag())
    case "sync": .sync(handle: w.handle(), dataOnly: w.flag())
    case "sync-directory": .syncDirectory(w.number())
    case "sync-all": .syncAll
    case "map-read": .mapRead(handle: w.handle(), offset: w.number(), length: w.number())
    case "map-write": .mapWrite(handle: w.handle(), offset: w.number(), length: w.number(), tag: w.number())
    default: parseRest(verb, &w)
    }
  }

  private static func parseRest(_ verb: Substring, _ w: inout Words) -> Operation? {
    switch verb {
    case "chmod": .setMode(handle: w.handle(), mode: w.number())
    case "setxattr":
      .setXattr(handle: w.handle(), name: w.number(), length: w.number(), tag: w.number(), mode: w.number())
    case "getxattr": .getXattr(handle: w.handle(), name: w.number())
    case "removexattr": .removeXattr(handle: w.handle(), name: w.number())
    case "listxattr": .listXattrs(handle: w.handle())
    case "seal": .seal(handle: w.handle(), name: w.number(), w.spec())
    case "unseal": .unseal(handle: w.handle(), name: w.number())
    case "seal-named": .sealNamed(handle: w.handle(), user: w.number(), name: w.number(), w.spec())
    case "unseal-named": .unsealNamed(handle: w.handle(), user: w.number(), name: w.number())
    case "seal-process": .sealProcess(handle: w.handle(), name: w.number(), process: w.number(), w.spec())
    case "seal-timed": .sealTimed(handle: w.handle(), name: w.number(), w.spec())
    case "end-process": .endProcess(process: w.number())
    case "holder-exit": .holderExit(w.place(), w.spec(), killed: w.flag())
    case "unpin": .unpin(handle: w.handle(), name: w.number(), range: w.range())
    case "fence": .fence
    case "revoke": .revoke(handle: w.handle())
    case "become": .become(process: w.number())
    case "waiting": waiting(&w)
    case "housekeep": .housekeep
    case "resize": .resize(mebibytes: w.number())
    case "remount": .remount
    case "crash": .crash(events: w.number(), seed: w.number())
    case "device-error": .deviceError(kind: w.number(), after: w.number(), seed: w.number())
    case "media-fault": .mediaFault(kind: w.number(), choice: w.number(), length: w.number())
    default: nil
    }
  }
}

extension Operation {
  private static func waiting(_ words: inout Words) -> Operation? {
    guard let patience = Patience(rawValue: words.number()), let operation = parse(words.word(), &words) else {
      return nil
    }
    if case .waiting = operation { return nil }
    return .waiting(operation, patience)
  }
}

extension Place: CustomStringConvertible {
  public var description: String { "\(directory)/\(name)" }
}

extension SealSpec: CustomStringConvertible {
  public var description: String {
    "\(preparation.rawValue):\(persistent ? 1 : 0):\(createOnly ? 1 : 0):\(breakable ? 1 : 0)"
      + ":\(range?.lowerBound ?? 0):\(range?.count ?? 0)"
  }
}

/// The words of a line, taken one after the other; `isWhole` tells whether all fitted.
private struct Words {
  private var words: [Substring]
  private var next = 0
  private var failed = false

  init(_ line: some StringProtocol) {
    words = line.split(separator: " ", omittingEmptySubsequences: true).map { Substring($0) }
  }

  var isWhole: Bool { !failed && next == words.count }

  mutating func word() -> Substring {
    guard next < words.count else {
      failed = true
      return ""
    }
    next += 1
    return words[next - 1]
  }

  mutating func number() -> Int { numbers(word(), separator: " ", count: 1)[0] }
  mutating func flag() -> Bool { number() != 0 }

  /// A start and a length.
  mutating func range() -> Range<Int> {
    let start = number()
    return start..<start + number()
  }

  mutating func handle() -> Int {
    let text = word()
    if text.first != "h" { failed = true }
    return numbers(text.dropFirst(), separator: " ", count: 1)[0]
  }

  mutating func place() -> Place {
    let parts = numbers(word(), separator: "/", count: 2)
    return Place(parts[0], parts[1])
  }

  mutating func spec() -> SealSpec {
    let parts = numbers(word(), separator: ":", count: 6)
    guard let preparation = SealSpec.Preparation(rawValue: parts[0]) else {
      failed = true
      return SealSpec(.strict)
    }
    return SealSpec(
      preparation, persistent: parts[1] != 0, createOnly: parts[2] != 0, breakable: parts[3] != 0,
      range: parts[5] > 0 ? parts[4]..<parts[4] + parts[5] : nil)
  }

  private mutating func numbers(_ text: Substring, separator: Character, count: Int) -> [Int] {
    let parts = text.split(separator: separator).map { Int($0) }
    guard parts.count == count, parts.allSatisfy({ $0 != nil && $0! >= 0 && $0! < 1 << 48 }) else {
      failed = true
      return Array(repeating: 0, count: count)
    }
    return parts.map { $0! }
  }
}
