/// Debian's own fio and sqlite3 under the library, unchanged.

import CMountedSupport
import Glibc
import Testing

@Suite("Preload: programs", .needsMount, .mounted(mebibytes: 256), .deadline(seconds: 400), .serialized)
struct ProgramTests {
  /// psync and its like are served; libaio and io_uring never meet libc and go through the mount: both must verify.
  @Test(
    "fio verifies what it wrote",
    arguments: ["psync", "sync", "vsync", "pvsync", "pvsync2", "mmap", "libaio", "io_uring", "posixaio"])
  func fio(_ engine: String) throws {
    let folder = try sharedVolume().freshFolder()
    for pass in ["--rw=randwrite", "--rw=randrw"] {
      let result = try Preload.run([
        "fio", "--name=verified", "--directory=\(folder.text)", "--ioengine=\(engine)", "--size=8M", "--bs=4k", pass,
        "--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--verify_state_save=0", "--fsync=64",
        "--minimal", "--randseed=7",
      ])
      #expect(result.status == 0, "\(result.output)\(result.errors)")
    }
  }

  private func sqlite(_ database: Path, _ statements: String) throws -> CommandResult {
    try Preload.run(["sqlite3", "-bail", database.text, ".timeout 60000", statements])
  }

  @Test("sqlite3 keeps its databases sound", arguments: ["delete", "truncate", "persist", "wal"], [0, 1 << 24])
  func sqlite3(journal: String, mapped: Int) throws {
    let database = try sharedVolume().freshFolder() / "database"
    let prologue = "PRAGMA journal_mode=\(journal); PRAGMA mmap_size=\(mapped);"
    let made = try sqlite(
      database,
      prologue + "CREATE TABLE t(k INTEGER PRIMARY KEY, v BLOB);"
        + "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<3000)"
        + " INSERT INTO t SELECT x, randomblob(400) FROM c;")
    #expect(made.status == 0, "\(made.errors)")
    // Two at once.
    let work =
      prologue + "BEGIN IMMEDIATE; UPDATE t SET v=randomblob(500) WHERE k%3=0; COMMIT;"
      + "BEGIN IMMEDIATE; DELETE FROM t WHERE k%7=1; INSERT INTO t(v) SELECT randomblob(900) FROM t LIMIT 400; COMMIT;"
    let words = ["env"] + Preload.environment + ["sqlite3", "-bail", database.text, ".timeout 60000", work]
    let children = try [words, words].map { try Child($0) }
    for child in children {
      let result = child.finish(seconds: 120)
      let log = try sharedVolume().log.suffix(4000)
      #expect(result.status == 0, "\(result.errors)\(log)")
    }
    let checked = try sqlite(database, prologue + "PRAGMA integrity_check; VACUUM; PRAGMA integrity_check;")
    #expect(checked.output.split(separator: "\n").suffix(2) == ["ok", "ok"], "\(checked.output)\(checked.errors)")
    // Without the library.
    let plain = try run(["sqlite3", database.text, "PRAGMA integrity_check;"])
    #expect(plain.output == "ok\n", "\(plain.errors)")
  }
}
