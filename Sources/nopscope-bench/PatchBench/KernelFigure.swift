// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What the running kernel's own ftrace needed to convert its call sites at boot.
///
/// The file `dyn_ftrace_total_info` of tracefs has it since Linux 6.12 or so; older kernels give
/// the counts alone.
///
/// ```
/// 48519 pages:192 groups: 2
/// ftrace boot update time = 22228514 (ns)
/// ftrace module total update time = 0 (ns)
/// ```
public struct KernelFigure: Equatable, Sendable {
  /// Sites that the kernel converted.
  public var sites: Int
  /// At boot, and for modules loaded since, whose sites are in the count.
  public var nanoseconds: Int

  /// The kernel's time for one.
  public var nanosecondsPerSite: Double { Double(nanoseconds) / Double(sites) }

  /// The kernel's own figures.
  public init(sites: Int, nanoseconds: Int) {
    self.sites = sites
    self.nanoseconds = nanoseconds
  }

  /// Nil: another text, or one of an older kernel, which gives no time.
  public init?(parsing text: String) {
    let lines = text.split(separator: "\n")
    guard let sites = lines.first.flatMap({ Self.number(in: $0) }), sites > 0 else { return nil }
    var total = 0
    for line in lines.dropFirst() where line.contains("update time") {
      guard let sum = line.split(separator: "=").last.flatMap({ Self.number(in: $0) }) else {
        return nil
      }
      let (added, overflow) = total.addingReportingOverflow(sum)
      if overflow { return nil }
      total = added
    }
    guard total > 0 else { return nil }
    self.sites = sites
    nanoseconds = total
  }

  /// The digits after leading blanks, which a blank or the end must follow.
  private static func number(in text: Substring) -> Int? {
    text.split(whereSeparator: \.isWhitespace).first.flatMap { Int($0) }
  }

  /// Where tracefs is mounted by convention.
  static let places = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]

  /// The running kernel's figure, and nil with the reason where it cannot be read. Mounts nothing.
  public static func read() -> (figure: KernelFigure?, note: String) {
    for place in places {
      let path = place + "/dyn_ftrace_total_info"
      guard let text = contents(of: path) else { continue }
      guard let figure = KernelFigure(parsing: text) else {
        return (nil, "\(path) gives no time: this kernel does not measure it")
      }
      return (figure, "\(path): \(figure.sites) sites in \(figure.nanoseconds) ns")
    }
    return (
      nil,
      "not readable; as root: mount -t tracefs nodev /sys/kernel/tracing, then run this as root"
    )
  }

  private static func contents(of path: String) -> String? {
    let file = open(path, O_RDONLY | O_CLOEXEC)
    guard file >= 0 else { return nil }
    defer { close(file) }
    var bytes = [UInt8](repeating: 0, count: 4096)
    let count = Glibc.read(file, &bytes, bytes.count)
    return count > 0 ? String(decoding: bytes.prefix(count), as: UTF8.self) : nil
  }
}
