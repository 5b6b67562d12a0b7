/// A mounted directory under stress, by system calls: every job has a folder, a model and a target of its own.
///
/// Works on any filesystem. On Holdfast (told by the virtual attributes) nothing is tolerated but what the model
/// allows; elsewhere features may be missing.

import CPlatform
import Glibc

final class MountedTarget: StressTarget {
  let results: TargetResults
  /// The job's own folder, without a slash at the end.
  let folder: [UInt8]
  private(set) var isHoldfast: Bool
  /// Open descriptors by handle slot, -1 for none.
  var descriptors: [Int32] = Array(repeating: -1, count: ModelFilesystem.handleSlots)
  /// Processes that requests are bound to, by slot; 0 for none.
  var processes: [pid_t] = Array(repeating: 0, count: ModelFilesystem.processSlots)
  /// A pipe whose reading end the processes wait on, so that they do not outlive this one.
  private(set) var lifeline: [Int32] = [-1, -1]
  /// The operation that waits for holders.
  var parked: WaitingCall?
  /// Inode to path, filled by `observe`.
  private var paths: [NodeID: [UInt8]] = [:]
  /// Nothing was done since.
  private var pathsAreCurrent = false

  /// Makes the folder. `isHoldfast` nil: find out.
  init(folder: String, maximumFileBytes: Int) throws(StressFailure) {
    self.folder = Array(folder.utf8)
    results = TargetResults(capacity: maximumFileBytes + 65536)
    isHoldfast = false
    guard pipe2(&lifeline, O_CLOEXEC) == 0 else { throw StressFailure(.environment, "pipe: \(errnoName(errno))") }
    guard mkdir(folder, 0o755) == 0 || errno == EEXIST else {
      throw StressFailure(.environment, "mkdir \(folder): \(errnoName(errno))")
    }
    isHoldfast = getxattr(folder, "holdfast.generation", nil, 0) >= 0 || Self.hasHoldfastStats(folder)
  }

  private static func hasHoldfastStats(_ folder: String) -> Bool {
    // The attribute of files: try one.
    let path = folder + "/.probe"
    let file = holdfast_open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0o600)
    guard file >= 0 else { return false }
    defer {
      close(file)
      unlink(path)
    }
    return fgetxattr(file, "holdfast.seal_count", nil, 0) >= 0
  }

  deinit {
    endProcesses()
    for end in lifeline { close(end) }
  }

  /// Inode number of the folder, the root of the model.
  var root: NodeID { inode(folder) }
  var rootMode: UInt32 { (status(folder)?.st_mode ?? 0) & 0o7777 }

  /// The outage this round will bring, nil for none.
  var outage: Outage?
  /// True once an operation has met it.
  private(set) var isPowerOff = false
  var hasMetDeviceError: Bool { false }
  func cutPower() {}
  func meetsDamage(_ outcome: Outcome) -> Bool { false }
  func keepPower() {}

  func recover(seed: UInt64) throws(StressFailure) {
    guard let outage else { throw StressFailure(.environment, "the filesystem is gone") }
    if let call = parked { _ = call.end(interrupting: true) }
    parked = nil
    closeAll()
    self.outage = nil
    try outage.wait()
    isPowerOff = false
  }

  /// Waits for the outage that must still come in this round.
  func waitForOutage() {
    while !Outage.hasBegun(at: folder) { usleep(5000) }
    isPowerOff = true
  }

  func remount() throws(StressFailure) {}

  func closeAll() {
    if let call = parked { _ = call.end(interrupting: true) }
    parked = nil
    for slot in descriptors.indices where descriptors[slot] >= 0 { closeDescriptor(slot) }
    endProcesses()
  }

  func closeDescriptor(_ slot: Int) {
    close(descriptors[slot])
    descriptors[slot] = -1
  }

  func endProcesses() {
    for slot in processes.indices where processes[slot] != 0 {
      holdfast_end_process(processes[slot])
      processes[slot] = 0
    }
  }

  // MARK: Paths

  func path(ofDirectory slot: Int, _ model: ModelFilesystem) -> [UInt8] {
    guard let id = model.directory(slot), let components = model.path(ofDirectory: id) else { return folder }
    return components.reduce(folder) { $0 + [UInt8(ascii: "/")] + $1 }
  }

  func path(_ place: Place, _ model: ModelFilesystem) -> [UInt8] {
    path(ofDirectory: place.directory, model) + [UInt8(ascii: "/")] + Names.bytes(place.name)
  }

  func withPath<Result>(_ path: [UInt8], _ body: (UnsafePointer<CChar>) -> Result) -> Result {
    (path + [0]).withUnsafeBytes { body($0.baseAddress!.assumingMemoryBound(to: CChar.self)) }
  }

  func status(_ path: [UInt8]) -> stat? {
    var status = stat()
    return withPath(path) { lstat($0, &status) } == 0 ? status : nil
  }

  func inode(_ path: [UInt8]) -> NodeID { status(path).map { UInt64($0.st_ino) } ?? 0 }

  /// Some path of a file: where `observe` found it, or where the model has it.
  func path(of node: NodeID, _ model: ModelFilesystem) -> [UInt8]? {
    // After a crash the model does not know yet which names are there.
    if pathsAreCurrent, let path = paths[node] { return path }
    return model.place(of: node).map { path($0, model) } ?? paths[node]
  }

  /// The result of a system call: its value, or errno.
  func answer(_ value: Int) -> Outcome { value < 0 ? .failed(errno) : .done(UInt64(value)) }
  func answer(_ value: Int32) -> Outcome { answer(Int(value)) }

  // MARK: Operations

  func perform(_ operation: Operation, _ model: ModelFilesystem, waits: Bool) -> Outcome {
    results.count = 0
    pathsAreCurrent = false
    let outcome = waits ? park(operation, model) : attempt(operation, model)
    if waits, isParked { return outcome }
    noteOutage(operation, outcome)
    return outcome
  }

  /// An operation that ended so may have met the outage.
  func noteOutage(_ operation: Operation, _ outcome: Outcome) {
    if [ENOTCONN, ECONNABORTED, EIO].contains(outcome.errno) || (outage != nil && Self.isShort(operation, outcome)) {
      isPowerOff = Outage.hasBegun(at: folder)
    }
  }

  /// Less was moved than asked for: an outage between two requests of one system call looks so.
  private static func isShort(_ operation: Operation, _ outcome: Outcome) -> Bool {
    switch operation {
    case .write(_, _, let length, _), .append(_, let length, _), .copy(_, _, _, _, let length):
      outcome.errno == 0 && outcome.value < UInt64(length)
    default: false
    }
  }

  func attempt(_ operation: Operation, _ model: ModelFilesystem) -> Outcome {
    switch operation {
    case .create, .open, .close, .makeDirectory, .removeDirectory, .unlink, .rename, .link, .symlink, .readSymlink,
      .list, .status, .truncateName:
      return performName(operation, model)
    case .setMode, .setXattr, .getXattr, .removeXattr, .listXattrs: return performAttribute(operation)
    case .seal, .unseal, .unpin, .sealNamed, .unsealNamed, .sealProcess, .sealTimed, .endProcess, .holderExit, .fence,
      .revoke:
      return performSeal(operation, model)
    case .syncAll: return synchronize(folder)
    case .syncDirectory(let slot): return synchronize(path(ofDirectory: slot, model))
    case .housekeep, .resize, .remount, .crash, .deviceError, .mediaFault, .become: return .done()
    default: return performContent(operation)
    }
  }

  private func synchronize(_ path: [UInt8]) -> Outcome {
    let directory = withPath(path) { holdfast_open($0, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0) }
    guard directory >= 0 else { return answer(directory) }
    defer { close(directory) }
    return answer(fsync(directory))
  }

  func tolerates(_ operation: Operation, _ outcome: Outcome, _ model: ModelFilesystem) -> Bool {
    if outcome.errno == ENOSPC, isNearlyFull { return true }
    if isHoldfast {
      // The kernel's FUSE answers these modes itself.
      if case .allocate(_, let mode, _, _) = operation, outcome.errno == EOPNOTSUPP { return mode & 0x28 != 0 }
      return false
    }
    switch operation {
    case .allocate: return outcome.errno == EOPNOTSUPP
    case .open(_, _, let access): return outcome.errno == EINVAL && access.contains(.direct)
    case .setXattr: return [EOPNOTSUPP, ENOSPC, E2BIG, ERANGE, EDQUOT].contains(outcome.errno)
    case .getXattr, .removeXattr, .listXattrs: return outcome.errno == EOPNOTSUPP
    case .rename(_, _, let flags): return flags != 0 && outcome.errno == EINVAL
    case .copy: return [EXDEV, EOPNOTSUPP, EINVAL].contains(outcome.errno)
    case .mapRead, .mapWrite: return outcome.errno == ENODEV
    default: return false
    }
  }

  private var isNearlyFull: Bool {
    var usage = statvfs()
    guard withPath(folder, { statvfs($0, &usage) }) == 0 else { return false }
    return usage.f_bfree < usage.f_blocks / 16
  }

  // MARK: Everything

  func observe(_ model: ModelFilesystem) throws(StressFailure) -> ModelMetadata {
    var observed = ModelMetadata(root: root, mode: rootMode)
    paths = [:]
    pathsAreCurrent = true
    var pending: [(NodeID, [UInt8])] = [(root, folder)]
    while let (directory, path) = pending.popLast() {
      guard list(path) == 0 else { throw StressFailure(.recovery, "cannot list \(told(path)): \(errnoName(errno))") }
      if let stranger = results.strangers.first { throw StressFailure(.recovery, "\(told(path)) lists \(stranger)") }
      observed.nodes[directory]?.entries = results.entries
      for (name, inode) in results.entries where observed.nodes[inode] == nil {
        let child = path + [UInt8(ascii: "/")] + Names.bytes(name)
        guard var node = node(child) else { throw StressFailure(.recovery, "cannot stat \(told(child))") }
        if node.kind == .directory {
          node.parent = directory
          pending.append((inode, child))
        }
        paths[inode] = child
        observed.nodes[inode] = node
      }
    }
    return observed
  }

  func told(_ path: [UInt8]) -> String { String(decoding: path, as: UTF8.self) }

  private func node(_ path: [UInt8]) -> ModelNode? {
    guard let status = status(path) else { return nil }
    var node = ModelNode(observing: status)
    if node.kind == .symlink {
      let count = withPath(path) { readlink($0, results.buffer.baseAddress!.assumingMemoryBound(to: CChar.self), 4096) }
      guard count >= 0 else { return nil }
      node.target = ValueDigest(UnsafeRawBufferPointer(rebasing: results.buffer[..<count]))
    }
    if node.kind == .file {
      for name in 0..<6 {
        let count = withPath(path) { path in
          withPath(Names.xattr(name)) { lgetxattr(path, $0, results.buffer.baseAddress, results.buffer.count) }
        }
        if count >= 0 { node.xattrs[name] = ValueDigest(UnsafeRawBufferPointer(rebasing: results.buffer[..<count])) }
      }
    }
    return node
  }

  func readWhole(_ node: NodeID, size: Int, _ model: ModelFilesystem) throws(StressFailure) {
    results.count = 0
    guard let path = paths[node] else { throw StressFailure(.recovery, "inode \(node) has no name") }
    let file = withPath(path) { holdfast_open($0, O_RDONLY | O_CLOEXEC, 0) }
    guard file >= 0 else { throw StressFailure(.recovery, "cannot open \(told(path)): \(errnoName(errno))") }
    defer { close(file) }
    while results.count < results.buffer.count {
      let count = pread(
        file, results.buffer.baseAddress! + results.count, results.buffer.count - results.count, results.count)
      guard count >= 0 else { throw StressFailure(.recovery, "cannot read \(told(path)): \(errnoName(errno))") }
      if count == 0 { break }
      results.count += count
    }
  }

  func finalCheck() throws(StressFailure) {}
}

extension ModelNode {
  init(observing status: stat) {
    switch status.st_mode & S_IFMT {
    case S_IFDIR: self.init(.directory, mode: status.st_mode & 0o7777)
    case S_IFLNK: self.init(.symlink, mode: 0o777, links: UInt32(status.st_nlink))
    default:
      self.init(.file, mode: status.st_mode & 0o7777, links: UInt32(status.st_nlink))
      size = UInt64(status.st_size)
    }
  }
}
