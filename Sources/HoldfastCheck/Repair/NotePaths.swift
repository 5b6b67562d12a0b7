/// Paths of the files a repair speaks of, in the repaired volume.

import HoldfastBase
import HoldfastFormat

struct NotePaths {
  private let names: NamePlan
  /// A name of each inode asked for.
  private var nameOf: [InodeNumber: Int] = [:]

  init(_ names: NamePlan, for notes: [RepairNote]) {
    self.names = names
    let subjects = Set(notes.compactMap(\.subject))
    guard !subjects.isEmpty else { return }
    for index in names.survey.names.indices where !names.dropped.contains(index) {
      let number = names.survey.names[index].target & Key.maximumObject
      if subjects.contains(number), nameOf[number] == nil { nameOf[number] = index }
    }
  }

  /// From the root, beginning with `/`; empty when the inode has no name.
  func path(of number: InodeNumber) throws(FSError) -> String {
    if number == RootDirectory.inode { return "/" }
    guard let name = nameOf[number] else { return "" }
    var parts = [try names.bytes(ofName: name)]
    var holder = names.survey.inodes.index(of: names.survey.names[name].directory)
    // Every directory lies below the root by now: the climb ends there.
    while let index = holder, names.survey.inodes.entries[index].number != RootDirectory.inode {
      let directory = names.survey.inodes.directories[names.survey.inodes.entries[index].directory]
      guard directory.name >= 0 else { return "" }
      parts.append(try names.bytes(ofName: directory.name))
      holder = names.survey.inodes.index(of: names.survey.names[directory.name].directory)
    }
    return parts.reversed().map { "/" + String(decoding: $0, as: UTF8.self) }.joined()
  }
}
