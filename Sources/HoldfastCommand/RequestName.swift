/// How messages name a request.

import HoldfastBase

extension String {
  /// Of a request's name: `request 'NAME'`; who gave none has the default one.
  public var asRequest: String { isEmpty ? "the default request" : "request '\(printable)'" }
}
