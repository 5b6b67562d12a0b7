/// libholdfast as installed: the C example, the Python module, README's lines.

import CMountedSupport
import Glibc
import Synchronization
import Testing

@Suite("Direct: the C library", .needsMount, .mounted(), .deadline(seconds: 120))
struct LibraryTests {
  /// The library of this build, installed below a folder that ends with the suite's volume.
  private static func prefix(_ volume: Volume) throws -> String {
    let prefix = volume.folder + "/prefix"
    try installing.withLock { _ in
      if Path(prefix + "/lib/pkgconfig/holdfast.pc").exists { return }
      let result = try run([TestEnvironment.sources + "/scripts/install-library.sh", prefix, TestEnvironment.library])
      guard result.status == 0 else { throw Trouble("install-library.sh: \(result.errors)") }
    }
    return prefix
  }

  /// By one test, the others wait.
  private static let installing = Mutex(())

  private func file() throws -> Path {
    let path = try sharedVolume().freshFolder() / "file"
    try path.create(pattern(100_000))
    // Until the handle is gone for good.
    #expect(eventually { (try? takeWriteLayout(path)) != nil })
    return path
  }

  private func shell(_ script: String) throws -> CommandResult { try run(["sh", "-c", script]) }

  @Test func theExampleRuns() throws {
    let volume = try sharedVolume()
    let prefix = try Self.prefix(volume)
    let program = volume.folder + "/direct"
    let built = try shell(
      """
      export PKG_CONFIG_PATH='\(prefix)/lib/pkgconfig'
      cc -std=c11 -Wall -Wextra -Werror '\(TestEnvironment.sources)/examples/direct.c' -o '\(program)' \
        $(pkg-config --cflags --libs holdfast) -Wl,-rpath,'\(prefix)/lib'
      """)
    #expect(built.status == 0, "\(built.errors)")
    let path = try file()
    let result = try run([program, path.text])
    #expect(result.status == 0 && result.output == "\(path): stored past the filesystem\n", "\(result)")
    #expect(try path.contents().prefix(7) == Array("stored ".utf8)[...])
    #expect(try path.sealCount() == 0)
    // The library says what is wrong.
    let plain = volume.folder + "/plain"
    try Path(plain).create(pattern(100))
    let refused = try run([program, plain])
    #expect(refused.status == 1 && refused.errors.contains("not a file on a Holdfast mount"), "\(refused)")
  }

  /// Needs nothing of Swift, and shows nothing else.
  @Test func theLibraryStandsAlone() throws {
    let prefix = try Self.prefix(try sharedVolume())
    let needed = try shell("readelf -d '\(prefix)/lib/libholdfast.so.1'")
    #expect(needed.output.contains("[libholdfast.so.1]") && !needed.output.contains("libswift"), "\(needed.output)")
    let symbols = try shell(
      "nm -D --defined-only '\(prefix)/lib/libholdfast.so.1' | grep ' [A-Z] ' | grep -v HOLDFAST_1$")
    for line in symbols.output.split(separator: "\n") { #expect(line.contains(" holdfast_"), "\(line)") }
    let declared = try shell(
      "grep -oE '\\bholdfast_[a-z_]+\\(' '\(prefix)/include/holdfast-client.h' | grep -v '()' | sort -u | wc -l")
    let exported = try shell("nm -D --defined-only '\(prefix)/lib/libholdfast.so.1' | grep -c ' T holdfast_'")
    #expect(declared.output == exported.output, "\(declared.output) \(exported.output)")
    let page = try shell("groff -man -ww -z '\(prefix)/share/man/man3/libholdfast.3'")
    #expect(page.status == 0 && page.errors.isEmpty, "\(page.errors)")
  }

  /// The first block of README in this language that has these words, for another file than /mnt/data.
  private func readme(_ language: String, with words: String, for path: Path) throws -> String {
    let text = String(decoding: try Path(TestEnvironment.sources + "/README.md").contents(), as: UTF8.self)
    let blocks = text.split(separator: "```\(language)\n").dropFirst()
    let block = try #require(blocks.lazy.compactMap { $0.split(separator: "```").first }.first { $0.contains(words) })
    return String(block.replacing("/mnt/data", with: path.text))
  }

  @Test func readmeRuns() throws {
    let volume = try sharedVolume()
    let prefix = try Self.prefix(volume)
    let path = try file()
    let python = volume.folder + "/readme.py"
    try Path(python).create(Array(try readme("python", with: "holdfast.layout", for: path).utf8))
    let ran = try run(["env", "PYTHONPATH=\(prefix)/lib/python3/dist-packages", "python3", python])
    #expect(ran.status == 0 && ran.errors.isEmpty, "\(ran.errors)")
    #expect(try path.contents().prefix(5) == Array("hello".utf8)[...])

    let other = try file()
    let source = volume.folder + "/readme.c"
    let body = try readme("c", with: "holdfast_layout_get", for: other)
    let program = """
      #include <fcntl.h>
      #include <holdfast.h>
      #include <string.h>
      #include <sys/mman.h>
      int main(int argc, char **argv) {
        int fd = open(argv[argc - 1], O_RDWR);
        size_t size = 100000;
      \(body)
        return 0;
      }
      """
    try Path(source).create(Array(program.utf8))
    let compiled = try shell(
      "cc -Wall -Werror '\(source)' -o '\(volume.folder)/readme' -I'\(prefix)/include' "
        + "-L'\(prefix)/lib' -lholdfast -Wl,-rpath,'\(prefix)/lib' && '\(volume.folder)/readme' '\(other)'")
    #expect(compiled.status == 0, "\(compiled.errors)")
    #expect(try other.contents().prefix(5) == Array("hello".utf8)[...])
  }

  @Test func pythonRuns() throws {
    let prefix = try Self.prefix(try sharedVolume())
    let path = try file()
    let script = """
      import ctypes, errno, holdfast, os, select, sys
      path = sys.argv[1]
      library = holdfast._library
      def refused(code, result):
          assert result == -1 and ctypes.get_errno() == code, (result, code, ctypes.get_errno())
      with holdfast.layout(path, write=True) as layout:
          assert layout.size == 100000 and sum(e.length for e in layout.extents) >= 100000
          with layout.map(write=True, populate=True) as memory:
              memory[0:5] = b"hello"
              assert len(memory) == 100000
          assert layout.read(5, 0) == b"hello"
          assert layout.write(b"written", 4090) == 7
          layout.sync()
          poll = select.poll()
          fd = layout.recall_fd()
          poll.register(fd, select.POLLIN)
          assert poll.poll(0) == [] and layout.recalled() is None
          os.close(fd)
          try:
              layout.map(sync=True).__enter__()
              raise SystemExit("MAP_SYNC?")
          except OSError as error:
              assert error.errno == errno.EOPNOTSUPP and "DAX" in str(error), error
      with open(path, "rb") as file:
          contents = file.read()
      assert contents[:5] == b"hello" and contents[4090:4097] == b"written", contents[:5]
      with holdfast.sealed(path):
          try:
              os.truncate(path, 0)
              raise SystemExit("truncated")
          except OSError as error:
              assert error.errno == errno.ETXTBSY, error
          with holdfast.pinned(path, 0, 4096, name="head"):
              pass
      with holdfast.sealed(path, holdfast.PERSISTENT, name="kept") as fd:
          refused(errno.EINVAL, library.holdfast_seal(fd, holdfast.PERSISTENT, None))
      assert [e.flags for e in holdfast.extents(path)] == [0] * len(holdfast.extents(path))
      os.truncate(path, 200000)
      try:
          holdfast.layout(path)
          raise SystemExit("a hole?")
      except OSError as error:
          assert error.errno == errno.EINVAL and "holdfast prepare" in str(error), error
      holdfast.prepare(path)
      with holdfast.layout(path) as layout:
          assert layout.size == 200000
          refused(errno.EFAULT, library.holdfast_pread(layout._pointer, None, 1, 0))
          refused(errno.EINVAL, library.holdfast_pread(layout._pointer, None, 1 << 63, 0))
          pointer, zero = ctypes.c_void_p(layout._pointer), ctypes.c_uint64(0)
          refused(errno.EFAULT, library.holdfast_preadv(pointer, None, 1, zero))
          for count in (-1, 1025):
              refused(errno.EINVAL, library.holdfast_preadv(pointer, None, count, zero))
          refused(errno.EINVAL, library.holdfast_layout_return(None, 0, 0))
          refused(errno.EINVAL, library.holdfast_unmap(None, 0))
          assert b"cannot unmap" in library.holdfast_last_error()
          for offset in (-1, 1 << 64):
              try:
                  layout.read(1, offset)
                  raise SystemExit("wrapped")
              except OverflowError:
                  pass
      print("all of it")
      """
    let program = try sharedVolume().folder + "/direct.py"
    try Path(program).create(Array(script.utf8))
    let result = try run(["env", "PYTHONPATH=\(prefix)/lib/python3/dist-packages", "python3", program, path.text])
    #expect(result.status == 0 && result.output == "all of it\n", "\(result)")
    #expect(try path.sealCount() == 0)
  }
}
