/// Which image a mount has, remembered: INFO makes a report of some size, and a layout must not cost that every time.
/// An answer that no longer holds is noticed by what it leads to, and asked for anew once.

import CPlatform
import Glibc
import HoldfastBase
import HoldfastDirect

final class MountedImages: @unchecked Sendable {
  static let shared = MountedImages()

  /// A program with more mounts than this asks more often.
  private static let capacity = 64

  private let lock = Lock()
  /// By the mount's st_dev.
  private var paths: [UInt64: String] = [:]

  /// `body` with the image's path: the one that was told, else the remembered one, else the mount's answer.
  func withPath<Result: ~Copyable>(
    of file: borrowing OpenFile, told: String?, _ body: (String) throws(DirectError) -> Result
  ) throws(ClientError) -> Result {
    if let told { return try Self.attempt(file.path, told, body) }
    var identity = holdfast_identity()
    let code = holdfast_identify(file.descriptor, &identity)
    guard code == 0 else { throw ClientError(DirectError(.openImage, errno: -code), path: file.path) }
    let device = identity.device
    if let remembered = lock.withLock({ paths[device] }) {
      do throws(ClientError) {
        return try Self.attempt(file.path, remembered, body)
      } catch {
        guard error.operation == .image else { throw error }
        lock.withLock { paths[device] = nil }
      }
    }
    let path: String
    do throws(DirectError) {
      path = try ImageName(mountOf: file.descriptor).withPath { String(cString: $0) }
    } catch {
      throw ClientError(error, path: file.path)
    }
    let result = try Self.attempt(file.path, path, body)
    lock.withLock {
      if paths.count >= Self.capacity { paths = [:] }
      paths[device] = path
    }
    return result
  }

  private static func attempt<Result: ~Copyable>(
    _ file: String, _ image: String, _ body: (String) throws(DirectError) -> Result
  ) throws(ClientError) -> Result {
    do throws(DirectError) { return try body(image) } catch { throw ClientError(error, path: file, image: image) }
  }
}
