/// Makes an image with many files, for timing the check and the repair: million-files IMAGE [FILES].
///
/// A thousand files a directory, each with an extent and every tenth with an attribute and a second name. The data is
/// preallocated and not written, so that the image stays sparse.

import Glibc
import HoldfastBase
import HoldfastDevice
import HoldfastStore

let arguments = CommandLine.arguments
guard arguments.count > 1 else { fatalError("million-files IMAGE [FILES]") }
let path = arguments[1]
let files = arguments.count > 2 ? Int(arguments[2]) ?? 0 : 1_000_000
let caller = Credentials(uid: 0, gid: 0, pid: 1)

func bytes<Result>(_ text: String, _ body: (UnsafeRawBufferPointer) throws -> Result) rethrows -> Result {
  try Array(text.utf8).withUnsafeBytes(body)
}

let descriptor = open(path, O_CREAT | O_RDWR, 0o600)
guard descriptor >= 0, ftruncate(descriptor, 16 << 30) == 0 else { fatalError("cannot make \(path)") }
close(descriptor)
let image = try ImageFile(path: path, mode: .readWrite)
try Store.format(image, options: FormatOptions(label: "many files"))
var options = StoreOptions()
options.cacheBytes = 1 << 30
let store = try Store(mounting: image, options: options)
var directory: InodeNumber = 1
for number in 0..<files {
  if number % 1000 == 0 {
    directory = try bytes("directory \(number / 1000)") {
      try store.make(NewInode(mode: 0o040755, umask: 0), $0, in: 1, by: caller).inode
    }
  }
  let inode = try bytes("file number \(number)") {
    try store.make(NewInode(mode: 0o100644, umask: 0), $0, in: directory, by: caller).inode
  }
  try store.allocate(inode, mode: [], offset: 0, length: 4096, handle: nil, by: caller)
  guard number % 10 == 0 else { continue }
  try bytes("second name \(number)") { name in _ = try store.link(inode, as: name, in: directory) }
  try bytes("user.number") { name in
    try bytes("\(number)") { try store.setXattr(name, of: inode, to: $0, mode: .any, by: caller) }
  }
}
try store.unmount()
