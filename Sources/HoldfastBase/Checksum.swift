import CPlatform

/// CRC-32C, the checksum of every metadata block and journal record.
@inlinable public func crc32c(_ bytes: UnsafeRawBufferPointer, seed: UInt32 = 0) -> UInt32 {
  holdfast_crc32c(seed, bytes.baseAddress, bytes.count)
}
