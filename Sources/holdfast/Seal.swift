import ArgumentParser
import HoldfastClient
import HoldfastCommand

struct Seal: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Seal files: their extent maps stay as they are until the seal is released.",
    discussion: """
      The seal stays until `holdfast unseal`, the unmount, its --ttl, or the end of the process --pid. Several \
      requests on a file count: the map moves again when the last is gone. A file with holes or preallocated, \
      unwritten blocks takes --fill or --as-is. With --range only those bytes are held: a pin. A --breakable one \
      gives way: who needs the map waits until its holder has let go, at most --grace seconds.

      Examples:
        holdfast seal /mnt/data
        holdfast seal --name rdma --pid 1234 --fill /mnt/data
        holdfast seal --name head --range 0+16M /mnt/data
        holdfast seal --breakable --grace 10 --pid 1234 --signal USR1 /mnt/data
      """)

  @Argument(help: "Files on a Holdfast mount.", completion: .file())
  var files: [String]

  @OptionGroup var request: SealArguments

  @Option(help: ArgumentHelp("Bound to this process: its end releases the seal.", valueName: "pid"))
  var pid: Int32?

  @Option(
    help: ArgumentHelp(
      "Sent to the process of --pid when a --breakable seal is to be let go: a name or number.", valueName: "signal"))
  var signal: SignalName?

  @Flag(help: "Survives unmounting and mounting again.")
  var persistent = false

  func validate() throws {
    if let pid, pid <= 0 { throw ValidationError("--pid takes a process id") }
    if signal != nil && (pid == nil || !request.breakable) {
      throw ValidationError("--signal goes with --breakable and --pid")
    }
    if persistent && pid != nil { throw ValidationError("--persistent and --pid exclude each other") }
  }

  func run() throws {
    var request = request.request(lifetime: persistent ? .persistent : .named)
    request.pid = pid ?? 0
    request.signal = signal.map { UInt32($0.number) } ?? 0
    try forEach(files) { try OpenFile($0).seal(request) }
  }
}

struct Unseal: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Release seals you took by name.",
    discussion: """
      Releases your own request, the unnamed one or that of --name, be it a seal or a pin; also while an operation \
      waits for it. Somebody else's is theirs to release, or an \
      administrator's to revoke.

      Example:
        holdfast unseal --name rdma /mnt/data
      """)

  @Argument(help: "Files on a Holdfast mount.", completion: .file())
  var files: [String]

  @Option(help: "Name of the request (default: the unnamed one).")
  var name: String?

  func validate() throws {
    if let name, name.isEmpty || !SealRequest.isValid(name: name) {
      throw ValidationError("--name takes 1 to 64 of A-Z a-z 0-9 _ -")
    }
  }

  func run() throws {
    try forEach(files) { try OpenFile($0).unseal(name: name ?? "", lifetime: .named) }
  }
}
