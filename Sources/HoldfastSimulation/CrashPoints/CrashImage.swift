/// The medium at a crash: everything up to the last barrier, and of the writes since then what a crash leaves.

import Glibc
import HoldfastBase

/// Follows a recording event by event and makes images of crashes on a device of its own.
struct CrashImage {
  private let recording: DeviceRecording
  private let device: SimulatedDevice
  /// Writes that came before the recording.
  private let ground: DeviceRecording?
  /// Events looked at so far.
  private(set) var position = 0
  /// Writes before the last barrier, and since.
  private var durable: [Int] = []
  private(set) var inFlight: [Int] = []
  /// What the last change of the device's length made it.
  private var length: UInt64?

  init(_ recording: DeviceRecording, on device: SimulatedDevice, ground: DeviceRecording? = nil) {
    self.recording = recording
    self.ground = ground
    self.device = device
  }

  /// Takes the next event; true when it was a write.
  mutating func advance() -> Bool {
    defer { position += 1 }
    switch recording.events[position] {
    case .write:
      inFlight.append(position)
      return true
    case .barrier:
      durable += inFlight
      inFlight.removeAll(keepingCapacity: true)
    case .length(let bytes): length = bytes
    }
    return false
  }

  mutating func advance(to position: Int) {
    while self.position < position { _ = advance() }
  }

  /// Puts the image of a crash here on the device.
  func make(_ fates: [WriteFate]) {
    device.rewind()
    if let ground {
      for index in ground.events.indices { place(index, .whole, of: ground) }
    }
    if let length { device.place(length: length) }
    for index in durable { place(index, .whole, of: recording) }
    for (index, fate) in zip(inFlight, fates) { place(index, fate, of: recording) }
  }

  private func place(_ index: Int, _ fate: WriteFate, of recording: DeviceRecording) {
    if case .length(let bytes) = recording.events[index] { return device.place(length: bytes) }
    guard fate != .absent, case .write(let offset, let count, let start) = recording.events[index] else { return }
    recording.withBytes(start, count) { bytes in
      guard case .torn(let tear) = fate else { return device.place(bytes, at: offset) }
      let first = offset / SimulatedDevice.sectorBytes
      let last = (offset + UInt64(count) - 1) / SimulatedDevice.sectorBytes
      for sector in first...last where tear.keeps(Int(sector - first), of: Int(last - first) + 1) {
        let from = max(offset, sector * SimulatedDevice.sectorBytes)
        let to = min(offset + UInt64(count), (sector + 1) * SimulatedDevice.sectorBytes)
        device.place(UnsafeRawBufferPointer(rebasing: bytes[Int(from - offset)..<Int(to - offset)]), at: from)
      }
    }
  }

  /// For reports.
  func describe(_ fates: [WriteFate]) -> String {
    guard !inFlight.isEmpty else { return "after event \(position), nothing in flight" }
    let told = zip(inFlight, fates).map { index, fate -> String in
      guard case .write(let offset, let count, _) = recording.events[index] else { return "" }
      return "write of \(count) bytes at \(offset) \(fate)"
    }
    return "after event \(position), in flight: \(told.joined(separator: ", "))"
  }
}
