/// Every kind of system call at every fill level of a mounted volume: done or ENOSPC, nothing else, and what deletes
/// always works; in the end all the space is back. The engine's own tests do this at far more levels
/// (HoldfastStoreTests/Faults/FullVolumeTests.swift).

import CMountedSupport
import Glibc
import Testing

@Suite("Faults: fill levels", .needsMount, .deadline(seconds: 120))
struct FillLevelTests {
  /// What the calls of one level work on, made while there is room.
  private struct Props {
    let folder: Path
    var file: Path { folder / "file" }
    var sparse: Path { folder / "sparse" }
    var sealed: Path { folder / "sealed" }

    init(_ folder: Path) throws {
      self.folder = folder
      try folder.makeDirectory()
      try file.create(pattern(100_000))
      try file.setAttribute("user.old", [UInt8](repeating: 7, count: 20_000))
      try sparse.create()
      try sparse.truncate(1 << 20)
      try sealed.create(pattern(20_000))
      try (folder / "empty").makeDirectory()
    }
  }

  private struct Call {
    var name: String
    var always = false
    var perform: (Props) throws -> Void

    init(_ name: String, always: Bool = false, _ perform: @escaping (Props) throws -> Void) {
      self.name = name
      self.always = always
      self.perform = perform
    }
  }

  private static func write(_ path: Path, _ flags: Int32, _ count: Int, at offset: Int = 0) throws {
    let file = try path.open(O_WRONLY | flags)
    defer { file.close() }
    try file.write(pattern(count, seed: 5), at: offset)
  }

  private static func allocate(_ path: Path, _ mode: Int32, _ offset: Int, _ count: Int) throws {
    let file = try path.open(O_WRONLY)
    defer { file.close() }
    try file.allocate(mode, at: offset, count)
  }

  /// In this order, those that need what is there before those that take it away.
  private static var calls: [Call] {
    [
      Call("open, creating") { try ($0.folder / "new").open(O_CREAT | O_WRONLY).close() },
      Call("mkdir") { try ($0.folder / "new-folder").makeDirectory() },
      Call("symlink") { try ($0.folder / "new-link").makeSymlink(to: $0.file) },
      Call("link") { try $0.file.link(as: $0.folder / "new-name") },
      Call("mknod") { try check(hmt_mknod(($0.folder / "fifo").bytes, S_IFIFO | 0o600, 0, 0)) },
      Call("O_TMPFILE") { try $0.folder.open(hmt_o_tmpfile | O_RDWR).close() },
      Call("append") { try write($0.file, O_APPEND, 4096) },
      Call("append much") { try write($0.file, O_APPEND, 900_000) },
      Call("fill a hole") { try write($0.sparse, 0, 8192, at: 40_960) },
      Call("write directly into a hole") { props in
        let file = try props.sparse.open(O_WRONLY | hmt_o_direct)
        defer { file.close() }
        try file.writeDirectly(pattern(4096), at: 81_920)
      },
      Call("fallocate") { try allocate($0.sparse, 0, 200_000, 100_000) },
      Call("zero a range") { try allocate($0.sparse, hmt_zero_range, 300_000, 50_000) },
      Call("copy_file_range") { props in
        let (source, target) = (try props.file.open(), try props.sparse.open(O_WRONLY))
        defer {
          source.close()
          target.close()
        }
        try source.copyRange(at: 0, 20_000, to: target, at: 500_000)
      },
      Call("setxattr") { try $0.file.setAttribute("user.new", [1]) },
      Call("setxattr, large") { try $0.file.setAttribute("user.large", [UInt8](repeating: 1, count: 60_000)) },
      Call("rename") { try ($0.folder / "empty").rename(to: $0.folder / "renamed") },
      Call("seal, filling") { try $0.sparse.seal("fill", name: "a") },
      Call("seal for good") { try $0.sealed.seal("persistent", name: "b") },
      Call("overwrite", always: true) { try write($0.file, 0, 50_000) },
      Call("chmod, utimes", always: true) { props in
        try props.file.changeMode(0o600)
        try props.file.setTimes(timespec(tv_sec: 5, tv_nsec: 0), timespec(tv_sec: 6, tv_nsec: 0))
      },
      Call("seal, release", always: true) { props in
        try props.sealed.seal("1")
        try props.sealed.unseal()
      },
      Call("fsync", always: true) { props in
        let file = try props.file.open()
        defer { file.close() }
        try file.sync()
      },
      Call("read, list, stat", always: true) { props in
        _ = try props.file.storedContents()
        _ = try props.folder.names()
        _ = try props.folder.statistics()
      },
      Call("removexattr", always: true) { try $0.file.removeAttribute("user.old") },
      Call("truncate up", always: true) { try $0.sealed.truncateUnlessSealed(1 << 30) },
      Call("punch", always: true) { try allocate($0.file, hmt_punch_hole | hmt_keep_size, 4096, 20_000) },
      Call("truncate", always: true) { try $0.file.truncate(50_000) },
      Call("truncate to nothing", always: true) { try $0.file.open(O_WRONLY | O_TRUNC).close() },
      Call("unlink, rmdir", always: true) { props in
        try? props.sparse.unseal(name: "a")
        for name in try props.folder.names() where name != "." && name != ".." {
          let path = props.folder / name
          if try path.statusOfLink().st_mode & S_IFMT == S_IFDIR {
            try path.removeDirectory()
          } else {
            try path.unlink()
          }
        }
        try props.folder.removeDirectory()
      },
    ]
  }

  private static let levels = 8

  @Test(arguments: [true, false]) func everyCallAtEveryLevel(names: Bool) throws {
    let volume = try Volume(mebibytes: 16)
    defer { volume.remove() }
    try volume.mount("commit=1")
    let root = volume.root
    try volume.sync()
    let before = try root.statistics()
    let props = try (0..<Self.levels).map { try Props(root / "level-\($0)") }
    let filler = root / "filler"
    try filler.create()
    let fillers = root / "fillers"
    try fillers.makeDirectory()
    var isEverRefused = false
    for level in 0..<Self.levels {
      // To the brim, and then so many blocks, or names, away from it.
      try fill(filler, volume)
      if names {
        try fillWithNames(fillers, freeing: level)
      } else {
        try filler.truncate(try filler.size() - level * 4096)
      }
      try volume.sync()
      for call in Self.calls {
        do {
          try call.perform(props[level])
        } catch {
          isEverRefused = true
          #expect(error as? Errno == Errno(ENOSPC) && !call.always, "\(call.name), level \(level): \(error)")
        }
      }
      #expect(try volume.information().state == "sound", "level \(level)\n\(volume.log)")
    }
    #expect(isEverRefused)
    try filler.unlink()
    for name in try fillers.names() where name != "." && name != ".." { try (fillers / name).unlink() }
    try fillers.removeDirectory()
    #expect(try root.names().sorted() == [".", ".."])
    // Closed handles and forgotten names reach the daemon a moment later.
    let isEmpty = try eventually(within: 20) {
      try volume.sync()
      return try root.statistics().f_bfree == before.f_bfree
    }
    let after = try root.statistics()
    #expect(isEmpty, "\(after.f_bfree) of \(before.f_bfree) blocks came back")
    #expect(after.f_bavail == before.f_bavail)
    #expect(!volume.log.contains("critical"), "\(volume.log)")
    volume.finish()
  }

  /// Until nothing is left, not even what a commit gives back.
  private func fill(_ path: Path, _ volume: Volume) throws {
    let file = try path.open(O_WRONLY)
    defer { file.close() }
    var size = try file.size()
    var refusals = 0
    while refusals < 3 {
      do throws(Errno) {
        size += try file.write(pattern(4096), at: size)
      } catch {
        #expect(error == Errno(ENOSPC))
        refusals += 1
        try volume.sync()
        size = try file.size()
      }
    }
  }

  private func fillWithNames(_ folder: Path, freeing count: Int) throws {
    var made: [Path] = []
    do throws(Errno) {
      while made.count < 100_000 {
        let path = folder / "a-rather-long-name-\(try folder.inode())-\(made.count)-\(now())"
        try path.open(O_CREAT | O_WRONLY).close()
        made.append(path)
      }
    } catch {
      #expect(error == Errno(ENOSPC))
    }
    for path in made.suffix(count) { try path.unlink() }
  }
}

extension Path {
  /// A persistent seal may stand in the way by now, which is not what is looked at here.
  fileprivate func truncateUnlessSealed(_ size: Int) throws {
    try? unseal(name: "b")
    try truncate(size)
  }
}
