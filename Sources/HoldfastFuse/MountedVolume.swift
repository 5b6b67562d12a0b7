/// A volume on a mount point, from mount(2) to the last block on disk: the one entry of this module.
///
/// The caller's thread makes the mount and then only waits: for the kernel's INIT, for the end of the session
/// (umount, or the connection's abort), for a signal. SIGTERM, SIGINT and SIGHUP detach the mount and end the
/// session as umount does; files still open on it answer ENOTCONN from then on.

import CFuse3
import CPlatform
import Glibc
import HoldfastBase
import HoldfastStore
import Logging

public enum MountedVolume {
  /// More would only wait for each other: the operations that take time are at the device.
  private static let workerLimit = 16

  /// Mounts `store` and serves it until it is unmounted; then unmounts the store. `onReady` is called once, on this
  /// thread, when the mount answers.
  /// - Parameters:
  ///   - image: Absolute path of the image, which /proc/mounts will show as the source.
  ///   - mountPoint: Absolute path without symbolic links.
  public static func run(
    store: Store, image: String, mountPoint: String, options: MountOptions,
    logger: Logger = Logger(label: "holdfast"), onReady: () -> Void
  ) throws(MountError) {
    holdfast_raise_descriptor_limit()
    let served = serve(
      store: store, image: image, mountPoint: mountPoint, options: options, logger: logger, onReady: onReady)
    do throws(FSError) {
      try store.unmount()
    } catch {
      logger.error("unmount: \(error)")
      throw .volume(error)
    }
    try served.get()
  }

  private static func serve(
    store: Store, image: String, mountPoint: String, options: MountOptions, logger: Logger, onReady: () -> Void
  ) -> Result<Void, MountError> {
    do throws(MountError) {
      let log = SessionLog(logger)
      let session = MountSession(store: store, image: image, mountPoint: mountPoint, options: options, log: log)
      defer { session.processWatcher.stop() }
      guard session.processWatcher.start() else { throw .resources }
      session.startHolderNotices()
      store.onFailure = { [unowned store] error in
        if case .shutDown = store.health {
          logger.critical("the volume is shut down (errors=shutdown): \(error)")
          session.forgetCaches()
        } else {
          logger.critical("the volume is read-only from now on (errors=remount-ro): \(error)")
        }
      }
      defer { store.onFailure = nil }
      if options.blockDevice { SwapGuard.protectFromMemoryKiller() }
      let events = EventPipe()
      store.seals.onKernelHolding = { _ in events.send(.kernelHolding) }
      defer { store.seals.onKernelHolding = nil }
      let signals = SignalWatch(events)
      defer { signals.end() }
      let mount = KernelMount(source: image, mountPoint: mountPoint, options: options)
      let connection = try FuseConnection(session, descriptor: try mount.open())
      defer { connection.close() }
      let workers = WorkerPool(
        session: connection.handle, limit: workerLimit, answerDirectly: session.answerDirectly,
        onEnd: { events.send(.ended) })
      session.transport.onInitialized = { events.send(.ready) }
      session.notifier.start(connection.handle)
      session.pageNotifier.start(connection.handle)
      for notifier in session.layoutNotifiers { notifier.start(connection.handle) }
      session.retries.start()
      session.longRetries.start()
      session.resizes.start()
      session.notices.start()
      workers.start()
      let swapGuard = SwapGuard(connection: fuse_session_fd(connection.handle))
      defer { swapGuard.end() }
      let isReady = wait(for: events, session: session, swapGuard) {
        onReady()
        // Said now: before, in the background, there is nowhere to say it.
        if store.superblock.state.contains(.errors) {
          logger.warning("\(image) met an error in an earlier mount: run holdfast fsck")
        }
        // What mounting itself has found.
        store.reportFailure()
      }
      workers.stop()
      // Nobody asks any more: what still waits is answered, and whoever would wake or fence somebody ends.
      session.parkingLot.close()
      session.resizing.close()
      session.processWatcher.stop()
      session.endHolderNotices()
      session.retries.stop()
      session.longRetries.stop()
      session.resizes.stop()
      session.notices.stop()
      session.notifier.stop()
      session.pageNotifier.stop()
      for notifier in session.layoutNotifiers { notifier.stop() }
      return isReady ? .success(()) : .failure(.session)
    } catch {
      return .failure(error)
    }
  }

  /// Until the session is over or a signal asks for its end; whether the mount ever answered.
  private static func wait(
    for events: EventPipe, session: MountSession, _ swapGuard: SwapGuard, onReady: () -> Void
  ) -> Bool {
    var device: MountTable.Device?
    var isReady = false
    /// A signal has asked for the end.
    var isEndDue = false
    var isPutOff = false
    while true {
      switch isEndDue ? events.next(within: swapQuestionMilliseconds) : events.next() {
      case .ready:
        device = MountTable.device(mountedOn: session.mountPoint)
        if let device { ReadAhead.raise(device, isBlockDevice: session.options.blockDevice) }
        isReady = true
        onReady()
      case .ended:
        return isReady
      case .signalled:
        if !isEndDue { session.log.logger.notice("a signal asks for the end") }
        isEndDue = true
      case .kernelHolding:
        if !swapGuard.keep(session.store.seals.kernelHoldsAny) {
          session.log.logger.warning("no swap guard: if this daemon dies, swapoff will not work")
        }
      case nil: break
      }
      guard isEndDue else { continue }
      // swapoff finds its file by path: detached, the machine would swap to it until it is switched off.
      if session.store.seals.kernelHoldsAny, let device, SwapFiles.isAny(on: device) {
        if !isPutOff {
          session.log.logger.notice("the end is put off until the machine swaps to no file here (swapoff)")
        }
        isPutOff = true
      } else {
        detach(session, device)
        return isReady
      }
    }
  }

  /// While the end is put off. The kernel tells nobody of a swapoff but by closing the file, which others may have open.
  private static let swapQuestionMilliseconds: Int32 = 1000

  private static func detach(_ session: MountSession, _ device: MountTable.Device?) {
    session.log.logger.notice("detaching \(session.mountPoint)")
    // Writers that wait may have pages locked that the flush waits for.
    session.parkingLot.close()
    flush(session.mountPoint)
    KernelMount.detach(session.mountPoint, device: device)
  }

  /// Pages written through mappings are the kernel's until it writes them back; the workers serve that meanwhile.
  private static func flush(_ mountPoint: String) {
    let root = open(mountPoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard root >= 0 else { return }
    _ = holdfast_sync_filesystem(root)
    close(root)
  }
}

/// How far ahead of a sequential reader the kernel reads: its default of 128 KiB makes READs small. Root only.
enum ReadAhead {
  static func raise(_ device: MountTable.Device, isBlockDevice: Bool) {
    let kibibytes = TransferBuffers.bytes >> 10
    // Of a block device's mount the number is the device's, which has settings of its own by that name.
    let name = "\(device.major):\(device.minor)" + (isBlockDevice ? "-fuseblk" : "")
    SmallFile.write("\(kibibytes)\n", to: "/sys/class/bdi/\(name)/read_ahead_kb")
  }
}
