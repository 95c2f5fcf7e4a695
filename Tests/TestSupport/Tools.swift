// SPDX-License-Identifier: Apache-2.0

import Foundation

/// Paths of the tools and of the built products that tests run.
public enum Tools {
  /// The first executable of this name in PATH; nil if there is none.
  public static func find(_ name: String) -> String? {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    for folder in path.split(separator: ":") {
      let candidate = "\(folder)/\(name)"
      if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
    }
    return nil
  }

  /// A tool in PATH, or beside the `swift` in PATH: toolchains ship clang and lld there.
  public static func findBesideSwift(_ name: String) -> String? {
    if let found = find(name) { return found }
    guard let swift = find("swift") else { return nil }
    let resolved = URL(fileURLWithPath: swift).resolvingSymlinksInPath()
    let candidate = resolved.deletingLastPathComponent().appendingPathComponent(name).path
    return FileManager.default.isExecutableFile(atPath: candidate) ? candidate : nil
  }

  /// Whether clang can link with lld on this machine.
  public static let hasLLD = findBesideSwift("ld.lld") != nil

  /// The folder of built products: the one that holds the test bundle.
  public static let productFolder: String = {
    let own = CommandLine.arguments.first { $0.hasSuffix(".xctest") }
    if let own { return URL(fileURLWithPath: own).deletingLastPathComponent().path }
    return URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
      .deletingLastPathComponent().path
  }()

  /// The built `nopscope`.
  public static var nopscope: String { productFolder + "/nopscope" }

  /// Runs a tool and returns its standard output; throws if the tool fails.
  @discardableResult
  public static func run(_ tool: String, _ arguments: [String], input: Data? = nil) throws
    -> String
  {
    let result = try runChild(tool, arguments, input: input)
    guard result.ending == .exit(0) else {
      throw TestSupportError(
        "\(tool) \(arguments.joined(separator: " ")): \(result.ending): \(result.standardError)")
    }
    return result.output
  }
}

/// The `nopscope` that was just built, run with `arguments`.
public func runNopscope(
  _ arguments: [String], environment: [String: String?] = [:], timeoutSeconds: Double = 60
) throws -> ChildResult {
  try runChild(
    Tools.nopscope, arguments, environment: environment, timeoutSeconds: timeoutSeconds)
}

/// Parses a JSON object; throws if `data` is not one.
public func jsonObject(_ data: Data) throws -> [String: Any] {
  guard let object = try JSONSerialization.jsonObject(with: data) as? [String: Any] else {
    throw TestSupportError("expected a JSON object")
  }
  return object
}

/// `nopscope` on a terminal of so many columns, which `script` (util-linux) gives it: both of its
/// outputs, with single newlines; throws where there is no `script`.
public func runNopscopeOnTerminal(
  _ arguments: String, columns: Int = 80, environment: [String: String?] = [:]
) throws -> ChildResult {
  guard let script = Tools.find("script") else { throw TestSupportError("script is not here") }
  var settings: [String: String?] = ["TERM": "xterm-256color", "NO_COLOR": nil]
  settings.merge(environment) { $1 }
  let command = "stty columns \(columns) -onlcr; '\(Tools.nopscope)' \(arguments)"
  return try runChild(
    script, ["--quiet", "--return", "--command", command, "/dev/null"], environment: settings)
}

extension Tools {
  /// Whether there is a `script`.
  public static let hasScript = find("script") != nil
}
