/// The options of a mount, as `-o` lists them: parsed once, shared by mount, remount and the information page.
/// A value; owns nothing.

import HoldfastBase
import HoldfastSeal
import HoldfastStore

public struct MountOptions: Sendable, Equatable {
  public enum AccessTime: String, Sendable { case noatime, relatime, strictatime }
  public enum ErrorAction: String, Sendable {
    case remountReadOnly = "remount-ro"
    case shutdown
  }

  /// Flags the kernel keeps for the mount; it enforces them itself.
  public struct KernelFlags: OptionSet, Sendable {
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue }
    public static let noSetID = KernelFlags(rawValue: 1)
    public static let noDevices = KernelFlags(rawValue: 2)
    public static let noExecute = KernelFlags(rawValue: 4)
    public static let synchronous = KernelFlags(rawValue: 8)
    public static let directorySynchronous = KernelFlags(rawValue: 16)
    public static let noDirectoryAccessTime = KernelFlags(rawValue: 32)
    public static let lazyTime = KernelFlags(rawValue: 64)
  }

  public enum ParseError: Error, Equatable, CustomStringConvertible {
    case unknown(String)
    case badValue(option: String, value: String)
    case missingValue(option: String)
    case unwantedValue(option: String)

    public var description: String {
      switch self {
      case .unknown(let option): "unknown mount option '\(option)'"
      case .badValue(let option, let value): "mount option \(option): bad value '\(value)'"
      case .missingValue(let option): "mount option \(option) needs a value"
      case .unwantedValue(let option): "mount option \(option) takes no value"
      }
    }
  }

  public var readOnly = false
  /// nil: the default, which is yes for root and no for others.
  public var allowOther: Bool?
  public var accessTime = AccessTime.relatime
  public var kernelFlags: KernelFlags = []
  /// Image opened with O_DIRECT.
  public var direct = false
  /// Mounted as fuseblk: the kernel claims the image, a block device, and may ask where blocks of sealed files are.
  public var blockDevice = false
  /// Bytes of metadata kept in memory.
  public var cacheBytes = StoreOptions().cacheBytes
  public var commitSeconds = StoreOptions().commitSeconds
  public var sealPolicy = SealPolicy.owner
  public var graceSeconds = 30
  /// What users may hold, each and together.
  public var sealLimits = SealLimits()
  public var onError = ErrorAction.remountReadOnly

  public init() {}

  public init(parsing list: String) throws(ParseError) {
    try apply(list)
  }

  /// Changes what `list` names and leaves the rest: a remount, or several `-o`.
  public mutating func apply(_ list: String) throws(ParseError) {
    var changed = self
    for option in list.split(separator: ",") { try changed.applyOne(option) }
    self = changed
  }

  /// The part the engine looks at.
  public var storeOptions: StoreOptions {
    var options = StoreOptions()
    options.readOnly = readOnly
    options.cacheBytes = cacheBytes
    options.commitSeconds = commitSeconds
    options.accessTime =
      switch accessTime {
      case .noatime: .none
      case .relatime: .relative
      case .strictatime: .strict
      }
    options.onError = onError == .shutdown ? .shutdown : .remountReadOnly
    options.seals.policy = sealPolicy
    options.seals.defaultGraceSeconds = UInt32(graceSeconds)
    options.seals.limits = sealLimits
    return options
  }

  /// All options in force, as a list that parses to the same value.
  public var list: String {
    var parts = [readOnly ? "ro" : "rw", accessTime.rawValue]
    if let allowOther { parts.append(allowOther ? "allow_other" : "noallow_other") }
    for (flag, name) in Self.kernelFlagNames where kernelFlags.contains(flag) { parts.append(name) }
    if direct { parts.append("direct") }
    if blockDevice { parts.append("blkdev") }
    parts.append("cache=\(cacheBytes)")
    parts.append("commit=\(commitSeconds)")
    parts.append("seal_policy=\(sealPolicy.rawValue)")
    parts.append("grace=\(graceSeconds)")
    parts.append("max_seals=\(sealLimits.requests)")
    parts.append("max_seals_all=\(sealLimits.allRequests)")
    parts.append("max_pinned=\(sealLimits.pinnedBytes)")
    parts.append("max_pinned_all=\(sealLimits.allPinnedBytes)")
    parts.append("errors=\(onError.rawValue)")
    return parts.joined(separator: ",")
  }

  private static let kernelFlagNames: [(KernelFlags, String)] = [
    (.noSetID, "nosuid"), (.noDevices, "nodev"), (.noExecute, "noexec"), (.synchronous, "sync"),
    (.directorySynchronous, "dirsync"), (.noDirectoryAccessTime, "nodiratime"), (.lazyTime, "lazytime"),
  ]

  private mutating func applyOne(_ option: Substring) throws(ParseError) {
    let name: Substring
    let value: Substring?
    if let equals = option.firstIndex(of: "=") {
      name = option[..<equals]
      value = option[option.index(after: equals)...]
    } else {
      name = option
      value = nil
    }
    if Self.isForOthers(name) { return }
    if try applyValued(name, value) { return }
    guard applyPlain(name) else { throw .unknown(String(option)) }
    if value != nil { throw .unwantedValue(option: String(name)) }
  }

  /// Options of fstab that mean something to mount(8), systemd or nobody, never to a filesystem.
  private static func isForOthers(_ name: Substring) -> Bool {
    switch name {
    case "", "defaults", "auto", "noauto", "user", "nouser", "users", "owner", "group", "nofail", "_netdev", "comment",
      "default_permissions", "remount", "silent", "loud", "mand", "nomand", "iversion", "noiversion":
      true
    default: name.hasPrefix("x-") || name.hasPrefix("X-")
    }
  }

  private mutating func applyPlain(_ name: Substring) -> Bool {
    switch name {
    case "ro": readOnly = true
    case "rw": readOnly = false
    case "allow_other": allowOther = true
    case "noallow_other": allowOther = false
    case "noatime": accessTime = .noatime
    case "relatime", "atime", "nostrictatime": accessTime = .relatime
    case "strictatime", "norelatime": accessTime = .strictatime
    case "direct": direct = true
    case "blkdev": blockDevice = true
    case "nosuid": kernelFlags.insert(.noSetID)
    case "suid": kernelFlags.remove(.noSetID)
    case "nodev": kernelFlags.insert(.noDevices)
    case "dev": kernelFlags.remove(.noDevices)
    case "noexec": kernelFlags.insert(.noExecute)
    case "exec": kernelFlags.remove(.noExecute)
    case "sync": kernelFlags.insert(.synchronous)
    case "async": kernelFlags.remove(.synchronous)
    case "dirsync": kernelFlags.insert(.directorySynchronous)
    case "nodiratime": kernelFlags.insert(.noDirectoryAccessTime)
    case "diratime": kernelFlags.remove(.noDirectoryAccessTime)
    case "lazytime": kernelFlags.insert(.lazyTime)
    case "nolazytime": kernelFlags.remove(.lazyTime)
    default: return false
    }
    return true
  }

  private mutating func applyValued(_ name: Substring, _ value: Substring?) throws(ParseError) -> Bool {
    switch name {
    case "cache", "commit", "seal_policy", "grace", "errors", "max_seals", "max_seals_all", "max_pinned",
      "max_pinned_all":
      break
    default: return false
    }
    guard let value, !value.isEmpty else { throw .missingValue(option: String(name)) }
    let bad = ParseError.badValue(option: String(name), value: String(value))
    if name.hasPrefix("max_") {
      // 0: none but root's.
      guard let number = Self.bytes(value), number >= 0 else { throw bad }
      switch name {
      case "max_seals": sealLimits.requests = number
      case "max_seals_all": sealLimits.allRequests = number
      case "max_pinned": sealLimits.pinnedBytes = UInt64(number)
      default: sealLimits.allPinnedBytes = UInt64(number)
      }
      return true
    }
    switch name {
    case "cache":
      guard let bytes = Self.bytes(value), bytes >= 1 << 20 else { throw bad }
      cacheBytes = bytes
    case "commit":
      guard let seconds = Int(value), (1...3600).contains(seconds) else { throw bad }
      commitSeconds = seconds
    case "grace":
      guard let seconds = Int(value), (0...86_400).contains(seconds) else { throw bad }
      graceSeconds = seconds
    case "seal_policy":
      guard let policy = SealPolicy(rawValue: String(value)) else { throw bad }
      sealPolicy = policy
    default:
      guard let action = ErrorAction(rawValue: String(value)) else { throw bad }
      onError = action
    }
    return true
  }

  /// A number, perhaps with K, M, G or T behind it.
  private static func bytes(_ text: Substring) -> Int? {
    let shift: Int
    switch text.last {
    case "K", "k": shift = 10
    case "M", "m": shift = 20
    case "G", "g": shift = 30
    case "T", "t": shift = 40
    default: return Int(text)
    }
    guard let number = Int(text.dropLast()), number >= 0 else { return nil }
    let (result, overflow) = number.multipliedReportingOverflow(by: 1 << shift)
    return overflow ? nil : result
  }
}
