/// The mounted tests' other process: another user, a holder that gets killed, a parent that forks. It makes one system
/// call per line of its input and answers with one line, `RESULT ERRNO TEXT`, until the input ends.
///
///     mounted-test-agent [UID GID [keep-immutable]]

import CHoldfast
import CMountedSupport
import Glibc

/// By `map-file`.
nonisolated(unsafe) var mappedFile = UnsafeMutableRawBufferPointer(start: nil, count: 0)

func answer(_ line: String) {
  let bytes = Array((line + "\n").utf8)
  _ = write(STDOUT_FILENO, bytes, bytes.count)
}

let arguments = CommandLine.arguments
if arguments.count >= 3, let uid = UInt32(arguments[1]), let gid = UInt32(arguments[2]) {
  guard hmt_become(uid, gid, arguments.contains("keep-immutable") ? 1 : 0) == 0 else {
    perror("becoming uid \(uid)")
    exit(1)
  }
}

/// What a system call answered; `text` for those that return one.
struct Outcome {
  var result: Int
  var code: Int32
  var text = ""

  init(_ result: some BinaryInteger) {
    self.result = Int(result)
    code = result < 0 ? errno : 0
  }
}

struct Request {
  let words: [String]

  var name: String { words[0] }
  func text(_ index: Int) -> String { words[index] == "''" ? "" : words[index] }
  func number<Integer: FixedWidthInteger>(_ index: Int) -> Integer { Integer(words[index]) ?? 0 }
}

func perform(_ request: Request) -> Outcome? {
  paths(request) ?? descriptors(request) ?? attributes(request) ?? seals(request) ?? leases(request)
    ?? direct(request) ?? memoryRequests(request) ?? processes(request)
}

func paths(_ request: Request) -> Outcome? {
  switch request.name {
  case "open": Outcome(hmt_open(request.text(1), request.number(2), request.number(3)))
  case "truncate": Outcome(truncate(request.text(1), request.number(2)))
  case "unlink": Outcome(unlink(request.text(1)))
  case "mkdir": Outcome(mkdir(request.text(1), request.number(2)))
  case "rmdir": Outcome(rmdir(request.text(1)))
  case "rename": Outcome(hmt_rename(request.text(1), request.text(2), 0))
  case "link": Outcome(link(request.text(1), request.text(2)))
  case "symlink": Outcome(symlink(request.text(1), request.text(2)))
  case "mknod": Outcome(hmt_mknod(request.text(1), request.number(2), request.number(3), request.number(4)))
  case "chmod": Outcome(chmod(request.text(1), request.number(2)))
  case "chown": Outcome(chown(request.text(1), request.number(2), request.number(3)))
  case "access": Outcome(access(request.text(1), request.number(2)))
  default: nil
  }
}

func descriptors(_ request: Request) -> Outcome? {
  switch request.name {
  case "close": return Outcome(close(request.number(1)))
  case "dup": return Outcome(dup(request.number(1)))
  case "keep-on-exec": return Outcome(fcntl(request.number(1), F_SETFD, 0))
  case "ftruncate": return Outcome(ftruncate(request.number(1), request.number(2)))
  case "fallocate":
    return Outcome(hmt_fallocate(request.number(1), request.number(2), request.number(3), request.number(4)))
  case "fsync": return Outcome(fsync(request.number(1)))
  case "lock": return Outcome(hmt_record_lock(request.number(1), 0, request.number(2), 0, 0))
  case "flock": return Outcome(flock(request.number(1), request.number(2)))
  case "write":
    let count: Int = request.number(3)
    let bytes = [UInt8](repeating: request.number(4), count: count)
    return Outcome(pwrite(request.number(1), bytes, count, request.number(2)))
  case "read":
    // How many bytes, and the value that all of them have, else "mixed".
    var bytes = [UInt8](repeating: 0, count: request.number(3))
    var outcome = Outcome(pread(request.number(1), &bytes, bytes.count, request.number(2)))
    let got = bytes.prefix(max(outcome.result, 0))
    outcome.text = got.allSatisfy { $0 == got.first } ? got.first.map { "\($0)" } ?? "" : "mixed"
    return outcome
  case "append":
    let bytes = [UInt8](repeating: request.number(3), count: request.number(2))
    return Outcome(write(request.number(1), bytes, bytes.count))
  case "map-file":
    let start = hmt_map(request.number(1), request.number(2), 1)
    guard let start else { return Outcome(-1) }
    mappedFile = UnsafeMutableRawBufferPointer(start: start, count: request.number(2))
    return Outcome(0)
  case "poke":
    mappedFile[request.number(1)] = request.number(2)
    return Outcome(0)
  case "peek": return Outcome(mappedFile[request.number(1)])
  case "unmap-file": return Outcome(munmap(mappedFile.baseAddress!, mappedFile.count))
  case "flags":
    var flags: UInt32 = request.number(2)
    return Outcome(hmt_ioctl(request.number(1), hmt_setflags, &flags))
  default: return nil
  }
}

func attributes(_ request: Request) -> Outcome? {
  switch request.name {
  case "setxattr":
    let value = Array(request.text(3).utf8)
    return Outcome(setxattr(request.text(1), request.text(2), value, value.count, request.number(4)))
  case "removexattr": return Outcome(removexattr(request.text(1), request.text(2)))
  case "getxattr":
    var value = [UInt8](repeating: 0, count: 65_536)
    var outcome = Outcome(getxattr(request.text(1), request.text(2), &value, value.count))
    outcome.text = String(decoding: value.prefix(max(outcome.result, 0)), as: UTF8.self)
    return outcome
  default: return nil
  }
}

/// `layout FD FLAGS` (LAYOUT_GET), `seal FD FLAGS NAME`, `unseal FD FLAGS NAME`, `seal-many FD COUNT`, `revoke FD`.
func seals(_ request: Request) -> Outcome? {
  switch request.name {
  case "seal", "unseal":
    var argument = sealArgument(flags: request.number(2), name: request.text(3))
    return Outcome(
      hmt_ioctl(request.number(1), UInt(request.name == "seal" ? holdfast_ioc_seal : holdfast_ioc_unseal), &argument))
  case "layout":
    // A struct holdfast_layout: as a value of Swift it takes long to compile.
    var argument = [UInt32](repeating: 0, count: MemoryLayout<holdfast_layout>.size / 4)
    argument[0] = UInt32(HOLDFAST_ABI_VERSION)
    argument[1] = request.number(2)
    return Outcome(hmt_ioctl(request.number(1), UInt(holdfast_ioc_layout_get), &argument))
  case "seal-many":
    let count: Int = request.number(2)
    for index in 0..<count {
      var argument = sealArgument(flags: HOLDFAST_SEAL_NAMED | HOLDFAST_SEAL_AS_IS, name: "request-\(index)")
      if hmt_ioctl(request.number(1), UInt(holdfast_ioc_seal), &argument) < 0 {
        var outcome = Outcome(-1)
        outcome.text = "\(index)"
        return outcome
      }
    }
    return Outcome(count)
  case "revoke":
    var argument = holdfast_revoke()
    argument.version = UInt32(HOLDFAST_ABI_VERSION)
    return Outcome(hmt_ioctl(request.number(1), UInt(holdfast_ioc_revoke), &argument))
  default: return nil
  }
}

func sealArgument(flags: UInt32, name: String) -> holdfast_seal {
  var argument = holdfast_seal()
  argument.version = UInt32(HOLDFAST_ABI_VERSION)
  argument.flags = flags
  withUnsafeMutableBytes(of: &argument.name) { $0.copyBytes(from: name.utf8.prefix($0.count - 1)) }
  return argument
}

/// `fork` (the child only waits, until our input ends or a signal), `exec` (itself, anew).
func processes(_ request: Request) -> Outcome? {
  switch request.name {
  case "ping": return Outcome(getpid())
  case "fork":
    let child = hmt_fork()
    guard child == 0 else { return Outcome(child) }
    var input = pollfd(fd: STDIN_FILENO, events: 0, revents: 0)
    while poll(&input, 1, -1) <= 0 {}
    _exit(0)
  case "exec":
    var words: [UnsafeMutablePointer<CChar>?] = [strdup("mounted-test-agent"), nil]
    // Answered by whoever reads the next line.
    answer("0 0")
    return Outcome(execv("/proc/self/exe", &words))
  default: return nil
  }
}

while let line = readLine() {
  let words = line.split(separator: " ").map(String.init)
  if words.isEmpty { continue }
  guard let outcome = perform(Request(words: words)) else {
    answer("-1 \(ENOSYS) no operation \(words[0])")
    continue
  }
  answer("\(outcome.result) \(outcome.code) \(outcome.text)")
}
