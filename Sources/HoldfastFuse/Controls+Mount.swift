/// The ioctls about the mount as a whole, and the long answers that come in pages: SYNC, REMOUNT, MAP, and the JSON
/// of HOLDERS, SEALS and INFO.

import CHoldfast
import HoldfastBase
import HoldfastFormat
import HoldfastSeal
import HoldfastStore

extension MountSession {
  func syncAll(_ call: ControlCall) throws(FSError) -> ControlAnswer {
    let argument = try call.argument(holdfast_sync.self)
    guard argument.reserved == 0 else { throw .invalid(.argument) }
    try store.settle()
    return ControlAnswer(argument)
  }

  /// Our part of a remount; the kernel's (ro, nosuid …) was told by mount(2).
  func remount(_ call: ControlCall) throws(FSError) -> ControlAnswer {
    let argument = try call.argument(holdfast_remount.self)
    guard argument.reserved == 0 else { throw .invalid(.argument) }
    guard isAdministrator(call.caller) else { throw .notPermitted }
    var changed = options
    do throws(MountOptions.ParseError) {
      try changed.apply(try Self.optionList(argument))
    } catch {
      log.logger.notice("remount: \(error)")
      throw .invalid(.argument)
    }
    // Fixed when the image was opened.
    guard changed.direct == options.direct, changed.blockDevice == options.blockDevice,
      changed.cacheBytes == options.cacheBytes
    else { throw .unsupported }
    if changed.readOnly {
      if !options.readOnly { try store.syncAll() }
    } else if store.isReadOnly {
      throw .readOnly
    }
    let engine = changed.storeOptions
    store.setOptions(
      accessTime: engine.accessTime, commitSeconds: engine.commitSeconds, onError: engine.onError, seals: engine.seals)
    options = changed
    return ControlAnswer(argument)
  }

  /// Behind the kernel's check, which ioctls do not pass: on a mount that became read-only nobody begins to change what is on
  /// the disk. Releasing a persistent request still does.
  func checkNotReadOnly() throws(FSError) {
    if options.readOnly { throw .readOnly }
  }

  private static func optionList(_ argument: holdfast_remount) throws(MountOptions.ParseError) -> String {
    guard let list = try? Text.name(in: argument.options) else {
      throw .badValue(option: "remount", value: "not terminated")
    }
    return list
  }

  /// MAP: version u32, count u32, offset u64, generation u64, then extents of 32 bytes.
  func map(_ call: ControlCall) throws(FSError) -> ControlAnswer {
    let headerBytes = 24
    let extentBytes = MemoryLayout<holdfast_extent>.size
    let limit = Int(HOLDFAST_MAP_EXTENTS)
    guard call.input.count == headerBytes + limit * extentBytes, let input = call.input.baseAddress,
      input.loadUnaligned(as: UInt32.self) == UInt32(HOLDFAST_ABI_VERSION)
    else { throw .invalid(.argument) }
    let offset = input.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
    guard offset <= Limits.fileBytes else { throw .invalid(.argument) }
    let (extents, generation) = try store.map(of: call.inode, from: offset, limit: limit)
    var bytes = [UInt8](repeating: 0, count: call.input.count)
    bytes.withUnsafeMutableBytes { output in
      output.storeBytes(of: UInt32(HOLDFAST_ABI_VERSION), as: UInt32.self)
      output.storeBytes(of: UInt32(extents.count), toByteOffset: 4, as: UInt32.self)
      output.storeBytes(of: offset, toByteOffset: 8, as: UInt64.self)
      output.storeBytes(of: generation, toByteOffset: 16, as: UInt64.self)
      for (index, extent) in extents.enumerated() {
        output.storeBytes(
          of: holdfast_extent(extent), toByteOffset: headerBytes + index * extentBytes, as: holdfast_extent.self)
      }
    }
    return ControlAnswer(bytes)
  }

  /// HOLDERS, SEALS, INFO: version u32, length u32, cookie u64, offset u64, total u64, then text. The first call
  /// (cookie 0) takes a snapshot; it is kept until its last page was read.
  func page(_ call: ControlCall, _ make: () -> [UInt8]) throws(FSError) -> ControlAnswer {
    let headerBytes = 32
    let pageBytes = Int(HOLDFAST_JSON_BYTES)
    guard call.input.count == headerBytes + pageBytes, let input = call.input.baseAddress,
      input.loadUnaligned(as: UInt32.self) == UInt32(HOLDFAST_ABI_VERSION)
    else { throw .invalid(.argument) }
    var cookie = input.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
    let offset = input.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
    let text = cookie == 0 ? make() : try snapshots.text(cookie)
    guard offset <= UInt64(text.count) else { throw .invalid(.argument) }
    let start = Int(offset)
    let length = min(pageBytes, text.count - start)
    if cookie == 0, start + length < text.count {
      cookie = snapshots.keep(text)
    } else if cookie != 0, start + length == text.count {
      snapshots.drop(cookie)
    }
    var bytes = [UInt8](repeating: 0, count: call.input.count)
    bytes.withUnsafeMutableBytes { output in
      output.storeBytes(of: UInt32(HOLDFAST_ABI_VERSION), as: UInt32.self)
      output.storeBytes(of: UInt32(length), toByteOffset: 4, as: UInt32.self)
      output.storeBytes(of: cookie, toByteOffset: 8, as: UInt64.self)
      output.storeBytes(of: offset, toByteOffset: 16, as: UInt64.self)
      output.storeBytes(of: UInt64(text.count), toByteOffset: 24, as: UInt64.self)
      for index in 0..<length { output[headerBytes + index] = text[start + index] }
    }
    return ControlAnswer(bytes)
  }
}

extension holdfast_extent {
  init(_ extent: Extent) {
    self.init()
    logical = extent.logical
    physical = extent.physical
    length = extent.length
    if extent.flags.contains(.unwritten) { flags |= UInt32(HOLDFAST_EXTENT_UNWRITTEN) }
    if extent.flags.contains(.shared) { flags |= UInt32(HOLDFAST_EXTENT_SHARED) }
  }
}
