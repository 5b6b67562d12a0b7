/// Directories: open, list, list with attributes, sync.
///
/// Entries are laid out as <linux/fuse.h> says (`fuse_dirent`, and `fuse_direntplus` through libfuse). Attributes
/// are looked up after the Store's own walk has ended, so that no lock of the walk is held while it is asked again.

import CFuse3
import Glibc
import HoldfastBase
import HoldfastFormat
import HoldfastStore

extension MountSession {
  static func addDirectoryOperations(to operations: inout fuse_lowlevel_ops) {
    operations.opendir = { request, inode, info in serving(request).openDirectory(Reply(request), inode, info!) }
    operations.readdir = { request, inode, size, offset, _ in
      serving(request).readDirectory(Reply(request), inode, size: size, after: UInt64(bitPattern: Int64(offset)))
    }
    operations.readdirplus = { request, inode, size, offset, _ in
      serving(request).readDirectoryPlus(Reply(request), inode, size: size, after: UInt64(bitPattern: Int64(offset)))
    }
    operations.releasedir = { request, inode, info in
      serving(request).releaseDirectory(Reply(request), inode, info!.pointee.fh)
    }
    operations.fsyncdir = { request, inode, dataOnly, _ in
      serving(request).sync(Reply(request), .fsyncdir, inode, dataOnly: dataOnly != 0)
    }
  }

  private func openDirectory(
    _ reply: consuming Reply<Opened>, _ inode: InodeNumber, _ info: UnsafeMutablePointer<fuse_file_info>
  ) {
    counters.count(.opendir)
    store.retain(inode)
    info.pointee.fh = handles.insert(Handle(inode: inode, flags: info.pointee.flags))
    if !reply.send(info) {
      _ = handles.remove(info.pointee.fh)
      store.release(inode)
    }
  }

  private func releaseDirectory(_ reply: consuming Reply<Done>, _ inode: InodeNumber, _ handle: UInt64) {
    counters.count(.releasedir)
    if handles.remove(handle) != nil {
      store.closed(inode, handle: handle, writing: false)
      store.release(inode)
    }
    reply.send()
  }

  private func readDirectory(_ reply: consuming Reply<Bytes>, _ inode: InodeNumber, size: Int, after: UInt64) {
    counters.count(.readdir)
    let buffer = buffers.take()
    defer { buffers.give(back: buffer) }
    var page = DirectoryPage(buffer, limit: size)
    do throws(FSError) {
      try store.readDirectory(inode, after: after) { page.append($0) }
      reply.send(page.bytes)
    } catch {
      fail(reply, error, .readdir, inode)
    }
  }

  private func readDirectoryPlus(_ reply: consuming Reply<Bytes>, _ inode: InodeNumber, size: Int, after: UInt64) {
    counters.count(.readdirplus)
    var batch = DirectoryBatch(limit: size)
    let buffer = buffers.take()
    defer { buffers.give(back: buffer) }
    do throws(FSError) {
      try store.readDirectory(inode, after: after) { batch.append($0) }
      var filled = 0
      var retained: [InodeNumber] = []
      for index in batch.entries.indices {
        let entry = batch.entries[index]
        var parameters = try parameters(of: entry)
        if parameters.ino != 0 { retained.append(parameters.ino) }
        filled += batch.withName(of: entry) { name in
          fuse_add_direntry_plus(
            nil, buffer.baseAddress!.assumingMemoryBound(to: CChar.self) + filled, size - filled, name, &parameters,
            off_t(truncatingIfNeeded: entry.offset))
        }
      }
      for inode in retained { store.retain(inode) }
      if !reply.send(UnsafeRawBufferPointer(rebasing: buffer[..<filled])) {
        for inode in retained { store.release(inode) }
      }
    } catch {
      fail(reply, error, .readdirplus, inode)
    }
  }

  /// An entry whose node id is 0 carries a name, number and type only, and counts no lookup: "." and ".." (the
  /// kernel counts neither), and what was removed since the walk.
  private func parameters(of entry: DirectoryBatch.Entry) throws(FSError) -> fuse_entry_param {
    if !entry.isDots {
      do throws(FSError) {
        return fuse_entry_param(try store.attributes(of: entry.inode))
      } catch .notFound {
      } catch .stale {}
    }
    var parameters = fuse_entry_param()
    parameters.attr.st_ino = UInt(entry.inode)
    parameters.attr.st_mode = entry.type.mode
    return parameters
  }
}

/// `fuse_dirent` after `fuse_dirent`: inode u64, offset u64, name length u32, type u32, name, padding to 8.
struct DirectoryPage {
  static let headerBytes = 24

  private let start: UnsafeMutableRawPointer
  private let limit: Int
  private var filled = 0

  init(_ buffer: UnsafeMutableRawBufferPointer, limit: Int) {
    start = buffer.baseAddress!
    self.limit = min(limit, buffer.count)
  }

  var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: start, count: filled) }

  /// False when the page is full.
  mutating func append(_ entry: DirectoryEntry) -> Bool {
    let bytes = (Self.headerBytes + entry.name.count + 7) & ~7
    guard filled + bytes <= limit else { return false }
    let record = start + filled
    record.storeBytes(of: entry.inode, as: UInt64.self)
    record.storeBytes(of: entry.offset, toByteOffset: 8, as: UInt64.self)
    record.storeBytes(of: UInt32(entry.name.count), toByteOffset: 16, as: UInt32.self)
    record.storeBytes(of: UInt32(entry.type.rawValue), toByteOffset: 20, as: UInt32.self)
    (record + Self.headerBytes).copyMemory(from: entry.name.baseAddress!, byteCount: entry.name.count)
    let end = Self.headerBytes + entry.name.count
    if bytes > end { memset(record + end, 0, bytes - end) }
    filled += bytes
    return true
  }
}

/// Entries taken out of a walk, as many as fit into an answer with attributes.
struct DirectoryBatch {
  struct Entry {
    var inode: InodeNumber
    var type: FileType
    var offset: UInt64
    var isDots: Bool
    /// Where the NUL-terminated name begins in `names`.
    var nameStart: Int
  }

  /// `fuse_entry_out` (128) and `fuse_dirent`.
  static let headerBytes = 128 + DirectoryPage.headerBytes

  private(set) var entries: [Entry] = []
  private var names: [UInt8] = []
  private var free: Int

  init(limit: Int) {
    free = min(limit, TransferBuffers.bytes)
    entries.reserveCapacity(free / 168)
    names.reserveCapacity(free / 8)
  }

  /// False when the answer is full.
  mutating func append(_ entry: DirectoryEntry) -> Bool {
    let bytes = (Self.headerBytes + entry.name.count + 7) & ~7
    guard bytes <= free else { return false }
    free -= bytes
    let dot = UInt8(ascii: ".")
    let isDots = entry.name.count <= 2 && entry.name.allSatisfy { $0 == dot }
    entries.append(
      Entry(inode: entry.inode, type: entry.type, offset: entry.offset, isDots: isDots, nameStart: names.count))
    names.append(contentsOf: entry.name)
    names.append(0)
    return true
  }

  func withName<Result>(of entry: Entry, _ body: (UnsafePointer<CChar>) -> Result) -> Result {
    names.withUnsafeBytes { body($0.baseAddress!.assumingMemoryBound(to: CChar.self) + entry.nameStart) }
  }
}
