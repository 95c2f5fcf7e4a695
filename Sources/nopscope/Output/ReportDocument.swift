// SPDX-License-Identifier: Apache-2.0

import TraceAnalysis

/// The document `nopscope.report/1`.
struct ReportDocument: Encodable {
  struct Open: Encodable {
    struct Call: Encodable {
      var function: String
      var nanoseconds: Int?
    }
    var process, thread: Int32
    var threadName: String
    /// The innermost first.
    var calls: [Call]
    var depth: Int
  }

  var functions: [FunctionDocument]
  /// What threads were in when their process ended.
  var open: [Open]
  var threads: Int
  var lostEvents: UInt64
  var corrupted: Bool

  init(_ report: Report, _ rows: [ReportRow]) {
    functions = rows.map(FunctionDocument.init)
    open = report.openStacks.map { stack in
      Open(
        process: stack.process, thread: stack.thread, threadName: stack.threadName,
        calls: stack.calls.map { .init(function: $0.function, nanoseconds: $0.nanoseconds) },
        depth: stack.depth)
    }
    threads = report.threads
    lostEvents = report.lostEvents
    corrupted = report.isCorrupted
  }
}

/// A function in `nopscope.report/1` and `nopscope.report-diff/1`; nil where something is not
/// known.
struct FunctionDocument: Encodable {
  var function, linkedName, module: String?
  /// Which load of the module it is, where each is by itself.
  var generation: Int?
  /// How many loads it is the sum of.
  var loads: Int
  /// Link-time address of the call site: it tells functions of one name apart, and those without one.
  var offset: UInt64?
  /// Where it is defined.
  var sourceFile: String?
  var sourceLine: Int?
  var calls: UInt64
  var totalNanoseconds, selfNanoseconds: Int?
  /// Of `selfNanoseconds`, when the thread was off the CPU; nil: not known.
  var waitNanoseconds: Int?
  var averageNanoseconds: Double?
  var minimumNanoseconds, maximumNanoseconds, p50Nanoseconds, p99Nanoseconds: Int?
  var varianceSquareNanoseconds: Double?

  init(_ row: ReportRow) {
    function = row.function.name
    linkedName = row.function.rawName
    loads = row.loads
    module = row.function.modulePath
    generation = row.loads == 1 ? row.function.generation : nil
    offset = row.function.offset?.rawValue
    sourceFile = row.function.source?.file
    sourceLine = row.function.source?.line
    calls = row.calls
    totalNanoseconds = row.times?.total
    selfNanoseconds = row.times?.selfTime
    waitNanoseconds = row.times?.selfWait
    averageNanoseconds = row.times?.average
    minimumNanoseconds = row.times?.minimum
    maximumNanoseconds = row.times?.maximum
    p50Nanoseconds = row.times?.median
    p99Nanoseconds = row.times?.percentile99
    varianceSquareNanoseconds = row.times?.variance
  }
}

/// The document `nopscope.report-diff/1`.
struct DifferenceDocument: Encodable {
  struct Pair: Encodable {
    var before, after: FunctionDocument?
  }

  var functions: [Pair]

  init(_ rows: [DifferenceRow]) {
    functions = rows.map { row in
      Pair(
        before: row.before.map(FunctionDocument.init), after: row.after.map(FunctionDocument.init))
    }
  }
}
