// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A shared object of small functions with a call site each, made for the measurement.
///
/// C compiled with `-O1 -pg -fPIC -fno-omit-frame-pointer`. A compiler needs a millisecond for such
/// a function, so it compiles a unit of 5,000 once and the linker takes the object as often as
/// needed: each copy is text of its own, with calls of its own. Beside the functions is a table
/// of calls with their results.
public final class GeneratedLibrary {
  /// Of the shared object.
  public let path: String
  /// `clang` or `gcc`.
  public let compiler: String
  private let folder: String
  private var files: [String] = []

  private static let unitSize = 5000
  private static let flags = ["-O1", "-pg", "-fPIC", "-fno-omit-frame-pointer", "-c"]

  /// Compiles a library of `sites` functions into a private folder, removed with the object.
  public init(sites: Int, say: (String) -> Void) throws(BenchError) {
    guard let compiler = ["clang", "gcc"].first(where: isInPath) else {
      throw BenchError("no clang and no gcc in PATH: install one, or name a --library")
    }
    self.compiler = compiler
    let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(parent)/nopscope-bench.XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else {
      throw BenchError("\(parent): cannot make a folder there: \(String(cString: strerror(errno)))")
    }
    let folder = String(decoding: template.dropLast().map(UInt8.init(bitPattern:)), as: UTF8.self)
    self.folder = folder
    path = folder + "/libbench.so"
    // From here on `deinit` removes the folder, whatever is thrown.
    say("compiling \(sites) functions: \(compiler) \(Self.flags.joined(separator: " "))")
    try build(sites)
  }

  deinit {
    for file in files { unlink(file) }
    rmdir(folder)
  }

  private func build(_ sites: Int) throws(BenchError) {
    let copies = sites / Self.unitSize
    let rest = sites % Self.unitSize
    var objects = [try compile("index", Self.indexSource, Self.flags.filter { $0 != "-pg" })]
    if copies > 0 {
      let unit = try compile("unit", unitSource(count: Self.unitSize, seed: 0), Self.flags)
      objects += Array(repeating: unit, count: copies)
    }
    if rest > 0 {
      objects.append(try compile("rest", unitSource(count: rest, seed: 1), Self.flags))
    }
    files.append(path)
    try run([compiler, "-shared", "-Wl,--build-id=sha1", "-o", path] + objects)
  }

  private func compile(
    _ name: String, _ source: String, _ flags: [String]
  ) throws(BenchError) -> String {
    let (text, object) = ("\(folder)/\(name).c", "\(folder)/\(name).o")
    files += [text, object]
    try write(source, to: text)
    try run([compiler] + flags + [text, "-o", object])
    return object
  }

  /// Where the linker put the calls of all units: one section, with these names at its ends.
  private static let indexSource = """
    extern const char begin[] __asm__("__start_nopscope_calls")
      __attribute__((visibility("hidden")));
    extern const char end[] __asm__("__stop_nopscope_calls") __attribute__((visibility("hidden")));
    const char *nopscope_bench_begin(void) { return begin; }
    const char *nopscope_bench_end(void) { return end; }

    """
}

/// The C text of `count` functions of four kinds, and of calls with the results they must have.
func unitSource(count: Int, seed: UInt32) -> String {
  var functions = "typedef int function(int);\n"
  var calls = """
    static const struct { function *call; int argument, result; } calls[] __attribute__((used,
      aligned(16), section("nopscope_calls"))) = {

    """
  for index in 0..<count {
    let known = KnownFunction(number: UInt32(index) &+ seed &* 7919)
    functions += "static int f\(index)(int x) { return (int)(\(known.expression)); }\n"
    let argument = UInt32(index) &* 2_654_435_761
    calls += "{f\(index), (int)\(argument)u, (int)\(known.result(argument))u},\n"
  }
  return functions + calls + "};\n"
}

/// A function as C text, and as what it must return: the same arithmetic, of 32 bits, twice.
struct KnownFunction {
  var number: UInt32

  var expression: String {
    switch number % 4 {
    case 0: "(unsigned)x * \(2 &* number &+ 1)u + \(number)u"
    case 1: "((unsigned)x ^ \(number &* 7)u) - \(number)u"
    case 2: "(unsigned)x + \(number)u"
    default: "((unsigned)x ^ (unsigned)x >> \(number % 31 + 1)) * \(2 &* number &+ 1)u"
    }
  }

  func result(_ x: UInt32) -> UInt32 {
    switch number % 4 {
    case 0: x &* (2 &* number &+ 1) &+ number
    case 1: (x ^ (number &* 7)) &- number
    case 2: x &+ number
    default: (x ^ x >> (number % 31 + 1)) &* (2 &* number &+ 1)
    }
  }
}
