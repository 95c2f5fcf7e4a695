// SPDX-License-Identifier: Apache-2.0

/// How a module can be spelt in rules: by its path, its file's name, and that up to `.so`.
public struct ModuleSpellings: Sendable {
  let spellings: [String]

  /// The spellings of the library at `path`.
  public init(path: String) {
    let file = String(path.split(separator: "/").last ?? "")
    var spellings = [path]
    let normalised = Self.normalised(path)
    if normalised != path { spellings.append(normalised) }
    if !file.isEmpty { spellings.append(file) }
    let characters = Array(file)
    let mark: [Character] = [".", "s", "o"]
    if characters.count > mark.count {
      for start in 1...(characters.count - mark.count)
      where characters[start..<(start + mark.count)].elementsEqual(mark) {
        let end = start + mark.count
        guard end == characters.count || characters[end] == "." else { continue }
        spellings.append(String(characters[..<start]))
        break
      }
    }
    self.spellings = spellings
  }

  /// An absolute path without `.` and `..`: `/a/./b/../c.so` is `/a/c.so`. Links are not followed.
  static func normalised(_ path: String) -> String {
    guard path.hasPrefix("/") else { return path }
    var parts: [Substring] = []
    for part in path.split(separator: "/") where part != "." {
      if part == ".." { _ = parts.popLast() } else { parts.append(part) }
    }
    return "/" + parts.joined(separator: "/")
  }

  func matches(_ pattern: Glob) -> Bool { spellings.contains { pattern.matches($0) } }
}
