// SPDX-License-Identifier: Apache-2.0

/// What a module is called in rules.
public struct ModuleName: Sendable {
  let spellings: [String]

  /// The names by which a rule may call the library at `path`.
  public init(path: String) {
    let file = String(path.split(separator: "/").last ?? "")
    var spellings = [path]
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

  func matches(_ pattern: Glob) -> Bool { spellings.contains { pattern.matches($0) } }
}

/// What a function is called in rules: as the linker knows it, and as its source does.
public struct FunctionName {
  let linked: String
  /// Made when a pattern does not match the linked name, and only for mangled ones.
  private let demangle: (String) -> String?

  /// A function by its linked name; `demangle` is asked for its source name when a rule needs that.
  public init(_ linked: String, demangle: @escaping (String) -> String?) {
    self.linked = linked
    self.demangle = demangle
  }

  func matches(_ pattern: Glob) -> Bool {
    if pattern.matches(linked) { return true }
    guard linked.hasPrefix("_Z"), let name = demangle(linked) else { return false }
    if pattern.matches(name) { return true }
    let bare = Self.withoutParameters(name)
    if bare.count < name.count, pattern.matches(bare) { return true }
    let short = Self.withoutResult(bare)
    guard short.count < bare.count else { return false }
    return pattern.matches(short) || pattern.matches(short + name.dropFirst(bare.count))
  }

  /// `long ns::f<long>` is `ns::f<long>`: a template's instances begin with what they return.
  ///
  /// `ns::X::operator unsigned long` is all name.
  static func withoutResult(_ name: String) -> String {
    let bytes = Array(name.utf8)
    let end = operatorStart(bytes) ?? bytes.count
    var (nested, angles, start) = (0, 0, 0)
    for index in 0..<end {
      switch bytes[index] {
      case UInt8(ascii: "("), UInt8(ascii: "["), UInt8(ascii: "{"): nested += 1
      case UInt8(ascii: ")"), UInt8(ascii: "]"), UInt8(ascii: "}"): nested -= 1
      case UInt8(ascii: "<") where nested == 0: angles += 1
      case UInt8(ascii: ">") where nested == 0: angles -= 1
      case UInt8(ascii: " ") where nested == 0 && angles == 0: start = index + 1
      default: break
      }
    }
    return String(decoding: bytes[start...], as: UTF8.self)
  }

  /// Where the word `operator` begins, which is no part of a longer one.
  private static func operatorStart(_ bytes: [UInt8]) -> Int? {
    let word = Array("operator".utf8)
    func isOfWord(_ index: Int) -> Bool {
      guard bytes.indices.contains(index) else { return false }
      let letter = bytes[index] | 0x20
      return (0x61...0x7a).contains(letter) || (0x30...0x39).contains(bytes[index])
        || bytes[index] == UInt8(ascii: "_")
    }
    return bytes.indices.first { index in
      bytes[index...].starts(with: word) && !isOfWord(index - 1) && !isOfWord(index + word.count)
    }
  }

  /// `ns::f(int) const` is `ns::f`; `operator()(int)` keeps its own parentheses.
  static func withoutParameters(_ name: String) -> String {
    let bytes = Array(name.utf8)
    var depth = 0
    for index in bytes.indices.reversed() {
      if bytes[index] == UInt8(ascii: ")") { depth += 1 }
      guard bytes[index] == UInt8(ascii: "(") else { continue }
      depth -= 1
      if depth == 0 { return String(decoding: bytes[..<index], as: UTF8.self) }
    }
    return name
  }
}

/// Which sites a tracer wants.
///
/// Rules apply in their order, the last that matches decides. Without rules every function is
/// wanted; where the first rule removes, it removes from all. Rules are applied when a module
/// comes, so one for a module that is not loaded yet is remembered by itself.
public struct SiteFilter: Sendable {
  /// What becomes of a site.
  public enum Choice: Equatable, Sendable {
    case unwanted
    case wanted
    /// Wanted, and what it calls is recorded while it is open.
    case graph
  }

  /// `--filter`: what is wanted; all where it is empty.
  public let filter: [FilterRule]
  /// `--notrace`: what is never wanted.
  public let notrace: [FilterRule]
  /// `--graph`: functions whose callees are wanted.
  public let graph: [FilterRule]
  private let demangle: @Sendable (String) -> String?

  /// The last rule that matches decides in each list; `notrace` goes before all.
  public init(
    filter: [FilterRule] = [], notrace: [FilterRule] = [], graph: [FilterRule] = [],
    demangle: @escaping @Sendable (String) -> String? = { _ in nil }
  ) {
    self.filter = filter
    self.notrace = notrace
    self.graph = graph
    self.demangle = demangle
  }

  /// Whether every site of every module is wanted: no name has to be looked at.
  public var wantsAll: Bool { filter.isEmpty && notrace.isEmpty && graph.isEmpty }

  /// What the rules say of one function.
  ///
  /// A graph function is armed even where no filter names it: without it nothing would be recorded.
  /// notrace wins over everything.
  public func choice(function: String, module: ModuleName) -> Choice {
    let name = FunctionName(function, demangle: demangle)
    if decide(notrace, name, module, otherwise: false) { return .unwanted }
    if decide(graph, name, module, otherwise: false) { return .graph }
    return decide(filter, name, module, otherwise: true) ? .wanted : .unwanted
  }

  /// `otherwise`: what an empty list says.
  private func decide(
    _ rules: [FilterRule], _ name: FunctionName, _ module: ModuleName, otherwise: Bool
  ) -> Bool {
    guard let first = rules.first else { return otherwise }
    for rule in rules.reversed() where rule.matches(function: name, module: module) {
      return !rule.isRemoval
    }
    return first.isRemoval && otherwise
  }
}
