/// Programs that know nothing of Holdfast, with libholdfast-preload.so in front of libc: what they do is the same,
/// and where it is done is the image.

import CMountedSupport
import Glibc
import Testing

@Suite("Preload: what a program sees", .needsMount, .mounted(mebibytes: 192), .deadline(seconds: 400), .serialized)
struct PreloadTests {
  private func volume() throws -> Volume { try sharedVolume() }

  /// A program that has a file open and so many bytes of it mapped.
  private func mapper(of path: Path, _ bytes: Int) throws -> (agent: Agent, file: Int) {
    let agent = try Agent(environment: Preload.environment)
    let file = try agent.open(path, O_RDWR)
    try agent.call("map-file", file, bytes)
    return (agent, file)
  }

  /// Runs the program twice over equal files.
  private func expectSame(seed: UInt64, operations: Int) throws {
    let folder = try volume().freshFolder()
    let start = Preload.bytes(300_000, seed: seed)
    var outputs: [String] = []
    var contents: [[UInt8]] = []
    for isPreloaded in [false, true] {
      // Its own name would be in no output.
      let path = folder / "\(isPreloaded)"
      try path.create(start)
      let words = [TestEnvironment.preloadAgent, "random", "\(seed)", "\(operations)", path.text]
      let result = isPreloaded ? try Preload.run(words) : try run(words, seconds: 120)
      #expect(result.status == 0, "seed \(seed): \(result.errors)")
      outputs.append(result.output)
      contents.append(try path.storedContents())
      #expect(try path.sealCount() == 0)
      #expect(try path.contents() == contents.last!, "seed \(seed): the page cache has something else")
    }
    let lines = outputs.map { $0.split(separator: "\n") }
    #expect(lines[0].count > operations)
    if let index = zip(lines[0], lines[1]).enumerated().first(where: { $1.0 != $1.1 })?.offset {
      Issue.record("seed \(seed): line \(index): \(lines[0][index]) without, \(lines[1][index]) with the library")
    }
    #expect(lines[0].count == lines[1].count, "seed \(seed)")
    #expect(contents[0] == contents[1], "seed \(seed): the files differ")
  }

  @Test("random calls answer the same and leave the same", arguments: 0..<6)
  func randomCalls(_ round: Int) throws {
    try expectSame(seed: round < 3 ? UInt64(round) : UInt64.random(in: 0 ... .max), operations: 1200)
  }

  @Test("reads and writes go to the image")
  func direct() throws {
    let volume = try volume()
    let path = try volume.freshFolder() / "file"
    try path.create([UInt8](repeating: 1, count: 1 << 20))
    let agent = try Agent(environment: Preload.environment)
    let file = try agent.open(path, O_RDWR)
    #expect(try path.sealCount() == 1)
    let before = try volume.transfers()
    for block in 0..<100 {
      #expect(try agent.call("write", file, block * 4096, 4096, 2 + block % 7) == 4096)
      let read = try agent.request(["read", "\(file)", "\(block * 4096)", "4096"])
      #expect(read.text == "\(2 + block % 7)")
    }
    #expect(try agent.call("append", file, 4096, 9) == 4096)
    #expect(try volume.transfers() == before)
    // The mount sees it at once.
    let seen = try path.contents()
    #expect(seen[..<4096].allSatisfy { $0 == 9 } && seen[4096..<8192].allSatisfy { $0 == 3 })
    let old = try path.status().st_mtim
    try agent.call("close", file)
    #expect(try path.sealCount() == 0)
    // The kernel hears of them just behind the answer.
    let isNewer = try eventually {
      let new = try path.status().st_mtim
      return (new.tv_sec, new.tv_nsec) > (old.tv_sec, old.tv_nsec)
    }
    #expect(isNewer)
    agent.exit()
  }

  @Test("a recall is answered at once, and the program goes on")
  func recall() throws {
    let volume = try volume()
    let path = try volume.freshFolder() / "file"
    try path.create([UInt8](repeating: 1, count: 1 << 20))
    let agent = try Agent(environment: Preload.environment)
    let file = try agent.open(path, O_RDWR)
    let reader = try agent.open(path, O_RDONLY)
    try agent.call("write", file, 0, 4096, 7)
    #expect(try path.sealCount() >= 1)
    // The program does nothing meanwhile.
    try path.truncate(8192)
    #expect(try volume.fenced() == 0)
    #expect(try agent.request(["read", "\(file)", "0", "65536"]).result == 8192)
    #expect(try agent.request(["read", "\(reader)", "0", "4096"]).text == "7")
    try agent.call("write", file, 4096, 4096, 8)
    try path.truncate(1 << 20)
    #expect(try agent.request(["read", "\(file)", "4096", "4096"]).text == "8")
    #expect(try agent.request(["read", "\(file)", "8192", "65536"]).text == "0")
    // Taken again, in the end.
    #expect(
      try eventually {
        _ = try agent.request(["read", "\(file)", "0", "4096"])
        return try path.sealCount() >= 1
      })
    try agent.call("ftruncate", file, 4096)
    #expect(try agent.request(["read", "\(file)", "0", "65536"]).result == 4096)
    agent.exit()
    #expect(try volume.fenced() == 0)
  }

  @Test("a mapping survives a recall")
  func mappedRecall() throws {
    let volume = try volume()
    let path = try volume.freshFolder() / "file"
    try path.create([UInt8](repeating: 1, count: 1 << 20))
    let (agent, file) = try mapper(of: path, 1 << 20)
    try agent.call("poke", 5000, 42)
    #expect(try path.storedContents()[5000] == 42)
    try path.truncate(2 << 20)
    #expect(try agent.call("peek", 5000) == 42)
    try agent.call("poke", 5001, 43)
    #expect(try path.storedContents()[5001] == 43)
    #expect(try agent.request(["read", "\(file)", "5001", "1"]).text == "43")
    // A hole in the middle of it: from here on the mapping is the mount's.
    let other = try path.open(O_RDWR)
    try check(hmt_fallocate(other.descriptor, 3, 65_536, 65_536))
    #expect(try eventually { try agent.call("peek", 70_000) == 0 })
    try agent.call("poke", 70_000, 44)
    #expect(try agent.request(["read", "\(file)", "70000", "1"]).text == "44")
    try agent.call("write", file, 70_001, 1, 45)
    #expect(try agent.call("peek", 70_001) == 45)
    other.close()
    try agent.call("unmap-file")
    try agent.call("close", file)
    #expect(try path.contents()[70_000] == 44)
    agent.exit()
    #expect(try volume.fenced() == 0)
  }

  @Test("a mapping outlives a fork beside another program's mapping of the file")
  func mappedByTwo() throws {
    let volume = try volume()
    let path = try volume.freshFolder() / "file"
    try path.create([UInt8](repeating: 1, count: 65_536))
    let agents = try (0..<2).map { _ in try mapper(of: path, 65_536).agent }
    // The second's layout keeps the first's mapping from going over to the mount.
    let child = try agents[0].call("fork")
    defer { kill(pid_t(child), SIGKILL) }
    for (number, agent) in agents.enumerated() { try agent.call("poke", 5000 + number, 42 + number) }
    #expect(try agents[0].call("peek", 5001) == 43 && agents[1].call("peek", 5000) == 42)
    #expect(try Array(path.storedContents()[5000..<5002]) == [42, 43])
    for agent in agents { agent.exit() }
    #expect(try volume.fenced() == 0)
  }

  @Test("a file opened during another program's recall is served and can be mapped")
  func openedDuringRecall() throws {
    let volume = try volume()
    let path = try volume.freshFolder() / "file"
    try path.create([UInt8](repeating: 1, count: 65_536))
    let agent = try Agent(environment: Preload.environment)
    // Opened beside a layout, it does not use the page cache: or it would be in the way until RELEASE has come.
    let first = try takeWriteLayout(path)
    let layout = try takeLayout(path) {
      $0.isWrite = true
      $0.isBreakable = true
      $0.graceSeconds = 60
    }
    _ = try first.giveBack()
    #expect(try eventually { try path.sealCount() == 1 })
    let growing = Background { try path.truncate(131_072) }
    let isWaiting = try eventually { try volume.statistics().waitingOperations > 0 }
    #expect(isWaiting)
    try agent.begin(["open", "\(path)", "\(O_RDWR)", "420"])
    usleep(100_000)
    _ = try layout.giveBack()
    try growing.finish()
    let file = try agent.answer().result
    #expect(try path.sealCount() == 1)
    try agent.call("map-file", file, 65_536)
    try agent.call("poke", 5000, 42)
    #expect(try path.storedContents()[5000] == 42)
    agent.exit()
  }

  /// A handle that real calls serve, opened beside another program's layout, has no shared mappings for good (ENODEV).
  @Test("what real calls serve beside another program's layout can be mapped", arguments: ["layout", "page cache"])
  func mappedLate(_ then: String) throws {
    let folder = try volume().freshFolder()
    let (path, busy) = (folder / "file", folder / "busy")
    for path in [path, busy] { try path.create([UInt8](repeating: 1, count: 65_536)) }
    let holder = try Agent(environment: Preload.environment)
    let agent = try Agent(environment: Preload.environment)
    // Locked by a descriptor that is not served, after which no file is that is opened.
    let cached = try busy.open(O_RDWR)
    defer { cached.close() }
    try agent.call("lock", try agent.open(busy, O_RDWR), F_WRLCK)
    let held = try holder.open(path, O_RDWR)
    let file = try agent.open(path, O_RDWR)
    #expect(try path.sealCount() == 1)
    let copy = try agent.call("dup", file)
    try agent.call("lock", copy, F_WRLCK)
    var other: File?
    defer { other?.close() }
    if then == "page cache" {
      try holder.call("close", held)
      #expect(try eventually { try path.sealCount() == 0 })
      other = try path.open(O_RDWR)
    }
    try agent.call("map-file", file, 65_536)
    #expect(try path.sealCount() == (then == "layout" ? 2 : 0))
    try agent.call("poke", 5000, 42)
    try agent.call("write", file, 5001, 1, 43)
    try agent.call("write", copy, 5002, 1, 44)
    #expect(try agent.call("peek", 5001) == 43 && agent.call("peek", 5002) == 44)
    for number in [file, copy] { #expect(try agent.request(["read", "\(number)", "5000", "1"]).text == "42") }
    #expect(try Array(path.contents()[5000..<5003]) == [42, 43, 44])
    // Its lock is where it was.
    let stranger = try path.open(O_RDWR)
    defer { stranger.close() }
    #expect(throws: Errno(EAGAIN)) { try check(hmt_record_lock(stranger.descriptor, 1, Int16(F_WRLCK), 0, 0)) }
    agent.exit()
    holder.exit()
  }

  @Test("a file closed while it is mapped is let go of when it is unmapped, through the mount as well")
  func closedWhileMapped() throws {
    let path = try volume().freshFolder() / "file"
    try path.create([UInt8](repeating: 1, count: 65_536))
    let (agent, file) = try mapper(of: path, 65_536)
    try agent.call("close", file)
    // Before a fork the mapping goes over to the mount; the child has it as well.
    let child = try agent.call("fork")
    #expect(try path.sealCount() == 0)
    kill(pid_t(child), SIGKILL)
    try agent.call("poke", 5000, 42)
    try agent.call("unmap-file")
    // Nobody uses the page cache any more.
    let layout = try takeWriteLayout(path)
    #expect(try layout.bytes(1, at: 5000) == [42])
    _ = try layout.giveBack()
    agent.exit()
  }

  @Test("threads that map the same descriptor for the first time leave no layout behind")
  func mappedLateByThreads() throws {
    let path = try volume().freshFolder() / "file"
    try path.create([UInt8](repeating: 1, count: 65_536))
    let holder = try Agent(environment: Preload.environment)
    let held = try holder.open(path, O_RDWR)
    let program = """
      import ctypes, fcntl, os, sys, threading
      # Python's own mmap lets no other thread run.
      libc = ctypes.CDLL(None)
      libc.mmap.restype = ctypes.c_void_p
      libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
      libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
      # A lock by a descriptor that is not served: no file is that is opened after it.
      other = os.open(sys.argv[1] + "-other", os.O_RDWR | os.O_CREAT | os.O_NONBLOCK)
      fcntl.lockf(other, fcntl.LOCK_EX)
      for _ in range(20):
          file = os.open(sys.argv[1], os.O_RDWR)
          start = threading.Barrier(8)
          def work():
              start.wait()
              libc.munmap(libc.mmap(None, 65536, 3, 1, file, 0), 65536)
          threads = [threading.Thread(target=work) for _ in range(8)]
          for thread in threads: thread.start()
          for thread in threads: thread.join()
          os.close(file)
      print("done", flush=True)
      sys.stdin.read()
      """
    var ends: [Int32] = [0, 0]
    try check(hmt_pipe(&ends))
    defer { close(ends[0]) }
    let child = try Child(["env"] + Preload.environment + ["python3", "-c", program, path.text], input: ends[0])
    #expect(eventually(within: 30) { (try? path.sealCount()) == 1 && child.hasSaid("done") })
    try holder.call("close", held)
    #expect(try eventually { try path.sealCount() == 0 })
    close(ends[1])
    let result = child.finish(seconds: 10)
    #expect(result.status == 0, "\(result.errors)")
    holder.exit()
  }

  @Test("what is mapped, cut off and there again can be stored into")
  func mappedTruncation() throws {
    let volume = try volume()
    let path = try volume.freshFolder() / "file"
    try path.create([UInt8](repeating: 1, count: 1 << 20))
    let (agent, file) = try mapper(of: path, 1 << 20)
    try path.truncate(8192)
    // The mapping is the mount's now, and has no layout any more.
    #expect(try eventually { try path.sealCount() == 0 })
    try path.truncate(1 << 20)
    #expect(try eventually { try agent.call("peek", 500_000) == 0 })
    try agent.call("poke", 500_000, 7)
    #expect(try agent.request(["read", "\(file)", "500000", "1"]).text == "7")
    agent.exit()
    #expect(try path.contents()[500_000] == 7)
    #expect(try volume.fenced() == 0)
  }

  @Test("a mapped file is not moved to another place")
  func mappedDefragmentation() throws {
    let folder = try volume().freshFolder()
    let paths = [folder / "one", folder / "two"]
    // Written in turn and closed each time: every block is an extent.
    for block in 0..<16 {
      for path in paths {
        let file = try path.open(O_CREAT | O_RDWR)
        defer { file.close() }
        try file.writeAll(pattern(4096, seed: UInt8(block)), at: block * 4096)
      }
    }
    let agent = try mapper(of: paths[0], 65_536).agent
    let map = try paths[0].extents()
    let refused = try holdfast("defrag", paths[0].text)
    #expect(refused.status == 1 && refused.errors.contains("maps"), "\(refused)")
    let skipped = try holdfast("defrag", "--skip", folder.text)
    #expect(skipped.status == 0, "\(skipped)")
    #expect(try paths[0].extents() == map && paths[1].extents().split(separator: "\n").count == 1)
    try agent.call("poke", 9000, 42)
    #expect(try paths[0].storedContents()[9000] == 42)
    agent.exit()
    #expect(try holdfast("defrag", paths[0].text).status == 0)
    #expect(try paths[0].extents().split(separator: "\n").count == 1 && paths[0].contents()[9000] == 42)
  }

  @Test("locks by lockf(3) outlive a mapping of a hole and a fork")
  func lockf() throws {
    let path = try volume().freshFolder() / "file"
    try path.create([UInt8](repeating: 1, count: 65_536))
    try path.truncate(1 << 20)
    let program = """
      import mmap, os, sys
      file = os.open(sys.argv[1], os.O_RDWR)
      os.lockf(file, os.F_LOCK, 0)
      memory = mmap.mmap(file, 1 << 20)
      os.pread(file, 8, 0)
      child = os.fork()
      if child == 0:
          other = os.open(sys.argv[1], os.O_RDWR)
          try: os.lockf(other, os.F_TLOCK, 0)
          except OSError: os._exit(0)
          os._exit(1)
      sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
      """
    let result = try Preload.run(["python3", "-c", program, path.text])
    #expect(result.status == 0, "\(result)")
  }

  @Test("a limit of file size is the file's, not the image's; O_NONBLOCK is the mount's")
  func limits() throws {
    let path = try volume().freshFolder() / "file"
    try path.create([UInt8](repeating: 1, count: 65_536))
    // In units of 512 bytes: one MiB, where the journal lies.
    let result = try Preload.run([
      "sh", "-c", "ulimit -f 2048; dd if=/dev/zero of=\(path.text) bs=4096 count=2 conv=notrunc",
    ])
    #expect(result.status == 0, "\(result)")
    #expect(try path.contents()[..<8193] == [UInt8](repeating: 0, count: 8192) + [1])
    let agent = try Agent(environment: Preload.environment)
    let file = try agent.open(path, O_RDWR | O_NONBLOCK)
    #expect(try path.sealCount() == 0)
    try agent.call("close", file)
    agent.exit()
  }

  @Test("kill -9 in the middle leaves nothing behind")
  func killed() throws {
    let volume = try volume()
    let path = try volume.freshFolder() / "file"
    try path.create([UInt8](repeating: 1, count: 1 << 20))
    let agent = try mapper(of: path, 1 << 20).agent
    let child = try agent.call("fork")
    agent.kill()
    // The child has the descriptor, but no handle of the layout.
    #expect(try eventually { try path.sealCount() == 0 })
    kill(pid_t(child), SIGKILL)
    try path.truncate(0)
    #expect(try volume.fenced() == 0)
  }

  @Test("duplicates, and a program run from it, share one offset and one file")
  func inheritance() throws {
    let path = try volume().freshFolder() / "file"
    try path.create([UInt8](repeating: 1, count: 65_536))
    let agent = try Agent(environment: Preload.environment)
    let file = try agent.open(path, O_RDWR)
    let copy = try agent.call("dup", file)
    try agent.call("append", file, 100, 2)
    try agent.call("append", copy, 100, 3)
    try agent.call("close", file)
    #expect(try path.sealCount() == 1)
    try agent.call("keep-on-exec", copy)
    try agent.call("exec")
    try agent.call("append", copy, 100, 4)
    #expect(try path.sealCount() == 0)
    agent.exit()
    let expected = (2...4).flatMap { [UInt8](repeating: UInt8($0), count: 100) }
    #expect(try Array(path.contents()[..<300]) == expected)
  }

  @Test("processes that append lose nothing")
  func appenders() throws {
    let path = try volume().freshFolder() / "file"
    try path.create()
    let words = ["env"] + Preload.environment + [TestEnvironment.preloadAgent, "append", "400", path.text]
    let children = try [words, words, [TestEnvironment.preloadAgent, "append", "400", path.text]].map { try Child($0) }
    for child in children { #expect(child.finish(seconds: 120).status == 0) }
    let lines = String(decoding: try path.contents(), as: UTF8.self).split(separator: "\n")
    #expect(lines.count == 1200)
    #expect(Set(lines).count == 1200)
    #expect(lines.allSatisfy { $0.utf8.count == 63 })
  }

  @Test("processes that share an offset take each record once")
  func sharedOffset() throws {
    let folder = try volume().freshFolder()
    let count = 3000
    let records = folder / "records"
    try records.create(
      (0..<count).flatMap { number in
        let digits = Array("\(number)".utf8)
        return digits + [UInt8](repeating: 32, count: 64 - digits.count)
      })
    // Descriptor 3 of the agent: what /bin/sh opens there.
    let marks = folder / "marks"
    try marks.create([UInt8](repeating: UInt8(ascii: "-"), count: count))
    let result = try run(
      ["/bin/sh", "-c", "exec 3<>\"$1\"; shift; exec env \"$@\"", "sh", marks.text] + Preload.environment
        + [TestEnvironment.preloadAgent, "share", "\(count)", records.text])
    #expect(result.status == 0)
    #expect(try marks.contents() == [UInt8](repeating: UInt8(ascii: "+"), count: count))
  }

  @Test("a signal's handler may write in the middle of a write")
  func handler() throws {
    let path = try volume().freshFolder() / "file"
    try path.create([UInt8](repeating: 1, count: 8 << 20))
    let result = try Preload.run([TestEnvironment.preloadAgent, "handler", "20000", path.text])
    #expect(result.output == "0 1\n")
  }

  @Test("what cannot be direct is what it would have been")
  func fallThrough() throws {
    let volume = try volume()
    let path = try volume.freshFolder(mode: 0o777) / "file"
    try path.create([UInt8](repeating: 1, count: 65_536), mode: 0o666)
    // Nobody's business the image: mkfs made it 0600.
    let stranger = try Agent(uid: Agent.user, environment: Preload.environment)
    let foreign = try stranger.open(path, O_RDWR)
    #expect(try path.sealCount() == 0)
    try stranger.call("write", foreign, 0, 4096, 2)
    #expect(try stranger.request(["read", "\(foreign)", "0", "4096"]).text == "2")
    stranger.exit()
    // Somebody uses the page cache.
    let other = try path.open(O_RDWR)
    let agent = try Agent(environment: Preload.environment)
    let busy = try agent.open(path, O_RDWR)
    #expect(try path.sealCount() == 0)
    try agent.call("write", busy, 4096, 4096, 3)
    #expect(try other.read(4096, at: 4096) == [UInt8](repeating: 3, count: 4096))
    try agent.call("close", busy)
    other.close()
    // A hard seal: layouts, too, stand beside it; growing is refused as ever.
    try path.seal()
    let sealed = try agent.open(path, O_RDWR)
    #expect(throws: Errno(ETXTBSY)) { try agent.call("write", sealed, 65_536, 1, 1) }
    #expect(throws: Errno(ETXTBSY)) { try agent.call("ftruncate", sealed, 1) }
    try agent.call("write", sealed, 0, 4096, 4)
    try agent.call("close", sealed)
    try path.unseal()
    #expect(try path.storedContents().first == 4)
    agent.exit()
  }
}
