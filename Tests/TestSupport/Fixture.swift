// SPDX-License-Identifier: Apache-2.0

import Foundation

/// A C file compiled at test time: one row of the table of forms.
public struct Fixture: Hashable, Sendable, CustomStringConvertible {
  /// What compiles it.
  public enum Compiler: String, Sendable, CaseIterable {
    case gcc, clang

    var path: String? { self == .gcc ? Tools.find("gcc") : Tools.findBesideSwift("clang") }
  }

  /// What it becomes.
  public enum Product: String, Sendable {
    case sharedObject, executable, staticExecutable, positionIndependentExecutable
  }

  /// What compiles it.
  public var compiler: Compiler
  /// Flags of the compilation.
  public var compile: [String]
  /// Flags of the linking.
  public var link: [String]
  /// What it becomes.
  public var product: Product
  /// C; `FixtureSource.shapes` as a rule.
  public var source: String

  /// A row of the table.
  public init(
    _ compiler: Compiler, _ compile: [String], link: [String] = [],
    as product: Product = .sharedObject, source: String = FixtureSource.shapes
  ) {
    self.compiler = compiler
    self.compile = compile
    self.link = link
    self.product = product
    self.source = source
  }

  /// The command line, in short.
  public var description: String {
    ([compiler.rawValue] + compile + link + [product.rawValue]).joined(separator: " ")
  }

  /// Returns the path of the linked file.
  ///
  /// Each fixture is built only once, also for the tests that run in processes of their own.
  public func build() throws -> String { try FixtureCache.shared.built(self).linked }

  /// The object file that the linked one was made of, with the compiler's own relocations.
  public func buildObject() throws -> String { try FixtureCache.shared.built(self).object }
}

/// The fixtures that were built. A build takes a hundred times as long as a test of the result.
private final class FixtureCache: @unchecked Sendable {
  static let shared = FixtureCache()

  struct Built {
    var object, linked: String
  }

  private let lock = NSLock()
  private var done: [Fixture: Result<Built, any Error>] = [:]

  /// Only one build runs at a time: the machine has other work.
  func built(_ fixture: Fixture) throws -> Built {
    try lock.withLock {
      if let known = done[fixture] { return known }
      let result = Result { try build(fixture) }
      done[fixture] = result
      return result
    }.get()
  }

  private func build(_ fixture: Fixture) throws -> Built {
    guard let compiler = fixture.compiler.path else {
      throw TestSupportError("\(fixture.compiler.rawValue) is neither in PATH nor beside swift")
    }
    let place = try FixtureFolder.place(of: fixture)
    let built = Built(object: place + "/a.o", linked: place + "/a.out")
    if FileManager.default.fileExists(atPath: place) { return built }
    let folder = try TemporaryFolder.shared.fresh("fixture")
    try compile(fixture, by: compiler, in: folder)
    // Another process may have been faster.
    guard rename(folder, place) == 0 || FileManager.default.fileExists(atPath: place) else {
      throw TestSupportError("\(place): \(String(cString: strerror(errno)))")
    }
    return built
  }

  private func compile(_ fixture: Fixture, by compiler: String, in folder: String) throws {
    try fixture.source.write(toFile: folder + "/a.c", atomically: false, encoding: .utf8)
    let (object, linked) = (folder + "/a.o", folder + "/a.out")
    try Tools.run(
      compiler,
      position(fixture.product) + fixture.compile
        + ["-c", folder + "/a.c", "-o", object])
    var link = ["-Wl,--build-id=sha1"] + fixture.link + [object, "-o", linked]
    switch fixture.product {
    case .sharedObject: link = ["-shared"] + link
    case .executable: link = ["-no-pie"] + link
    case .staticExecutable: link = ["-no-pie", "-static"] + link
    case .positionIndependentExecutable: link = ["-pie"] + link
    }
    try Tools.run(compiler, link)
  }

  /// The flags that the product needs. The fixture's own flags follow and override them.
  private func position(_ product: Fixture.Product) -> [String] {
    switch product {
    case .sharedObject: ["-fPIC"]
    case .positionIndependentExecutable: ["-fPIE"]
    case .executable, .staticExecutable: ["-fno-pie"]
    }
  }
}

/// Where fixtures are, by what they are made of.
enum FixtureFolder {
  static let variable = "NOPSCOPE_TEST_FIXTURES"

  /// The runner's, and of those that it started.
  static let path =
    ProcessInfo.processInfo.environment[variable] ?? TemporaryFolder.shared.path + "/fixtures"

  static func place(of fixture: Fixture) throws -> String {
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325  // FNV-1a
    for byte in "\(fixture)\n\(fixture.source)".utf8 {
      hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3
    }
    return path + "/" + String(hash, radix: 16)
  }
}
