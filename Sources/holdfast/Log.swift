/// Where the daemon's log goes: stderr in the foreground or to a file, else syslog(3).

import Glibc
import Logging

enum Log {
  static func foreground() -> Logger { Logger(label: "holdfast") { _ in LineHandler(hasTime: false) } }

  static func background(toFile: Bool) -> Logger {
    if toFile { return Logger(label: "holdfast") { _ in LineHandler(hasTime: true) } }
    return Logger(label: "holdfast") { _ in SyslogHandler() }
  }
}

/// `holdfast: level: message` on stderr.
private struct LineHandler: LogHandler {
  let hasTime: Bool
  var metadata = Logger.Metadata()
  var logLevel = Logger.Level.info

  init(hasTime: Bool) { self.hasTime = hasTime }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let line = "\(hasTime ? Self.time() + " " : "")holdfast: \(event.level): \(event.message)\n"
    line.withCString { _ = write(STDERR_FILENO, $0, strlen($0)) }
  }

  private static func time() -> String {
    var now = time_t()
    Glibc.time(&now)
    var fields = tm()
    localtime_r(&now, &fields)
    var text = [CChar](repeating: 0, count: 32)
    strftime(&text, text.count, "%Y-%m-%dT%H:%M:%S%z", &fields)
    return String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
  }
}

/// syslog(3), facility daemon, with the process id.
private struct SyslogHandler: LogHandler {
  var metadata = Logger.Metadata()
  var logLevel = Logger.Level.info

  init() { openlog("holdfast", LOG_PID, 3 << 3) }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    let priority =
      switch event.level {
      case .trace, .debug: LOG_DEBUG
      case .info: LOG_INFO
      case .notice: LOG_NOTICE
      case .warning: LOG_WARNING
      case .error: LOG_ERR
      case .critical: LOG_CRIT
      }
    "\(event.message)".withCString { text in withVaList([text]) { vsyslog(priority, "%s", $0) } }
  }
}
