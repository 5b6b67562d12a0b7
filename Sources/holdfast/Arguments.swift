/// Arguments that several subcommands share.

import ArgumentParser
import HoldfastClient
import HoldfastCommand

extension ByteSize: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
  public var defaultValueDescription: String { description }
}

extension ByteRange: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

extension SignalName: ExpressibleByArgument {
  public init?(argument: String) { self.init(argument) }
}

/// What describes a request: of `seal` and of `hold`.
struct SealArguments: ParsableArguments {
  @Option(help: "Name of the request: 1 to 64 of A-Z a-z 0-9 _ - (default: the unnamed one).")
  var name: String?

  @Flag(help: "Conflicting operations ask the holder to let go and wait for that, instead of being refused.")
  var breakable = false

  @Option(
    help: ArgumentHelp("Seconds a breakable request has to let go (default: the mount's).", valueName: "seconds"))
  var grace: UInt32?

  @Option(help: ArgumentHelp("End by itself after so many seconds.", valueName: "seconds"))
  var ttl: UInt32?

  @Option(
    help: ArgumentHelp(
      "Pin only these bytes: OFFSET+LENGTH, with K M G T if you like, rounded outward to blocks.",
      valueName: "off+len"))
  var range: ByteRange?

  @Flag(help: "Allocate and zero what has no blocks of its own yet, sync, then seal.")
  var fill = false

  @Flag(help: "Seal the map as it is: holes stay holes, and writing into them is refused.")
  var asIs = false

  func validate() throws {
    if let name, name.isEmpty || !SealRequest.isValid(name: name) {
      throw ValidationError("--name takes 1 to 64 of A-Z a-z 0-9 _ -")
    }
    if fill && asIs { throw ValidationError("--fill and --as-is exclude each other") }
    if grace != nil && !breakable { throw ValidationError("--grace goes with --breakable") }
    if grace == 0 { throw ValidationError("--grace takes 1 second or more") }
    if let grace, grace > GraceLimit.seconds {
      throw ValidationError("--grace takes at most \(GraceLimit.seconds) seconds")
    }
    if ttl == 0 { throw ValidationError("--ttl takes 1 second or more") }
  }

  func request(lifetime: SealRequest.Lifetime) -> SealRequest {
    var request = SealRequest()
    request.name = name ?? ""
    request.kind = breakable ? .breakable(graceSeconds: grace) : .hard
    request.lifetime = lifetime
    request.preparation = fill ? .fill : asIs ? .asIs : .none
    request.range = range.map { ($0.offset, $0.length) }
    request.ttlSeconds = ttl ?? 0
    return request
  }
}

/// Runs `body` for each path; a failure is told and the rest still done.
/// - Throws: exit status 1 when any failed.
func forEach(_ paths: [String], _ body: (String) throws -> Void) throws {
  var hasFailed = false
  for path in paths {
    do {
      try body(path)
    } catch {
      complain("\(error)")
      hasFailed = true
    }
  }
  if hasFailed { throw ExitCode.failure }
}

/// Turns the client's errors into the command's.
func asCommand<Result>(_ body: () throws(ClientError) -> Result) throws(CommandError) -> Result {
  do {
    return try body()
  } catch {
    throw CommandError(error.path, "\(error)".dropPrefix(error.path + ": "))
  }
}

extension String {
  fileprivate func dropPrefix(_ prefix: String) -> String {
    hasPrefix(prefix) ? String(dropFirst(prefix.count)) : self
  }
}
