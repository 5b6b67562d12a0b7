/// Whoever uses layouts needs the core's words, too: LayoutRequest, LayoutEnd, DirectExtent, MapOptions, DirectError.

@_exported import HoldfastDirect
