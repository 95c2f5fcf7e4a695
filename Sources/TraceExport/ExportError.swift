// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Why nothing was exported. Whatever had been written has been removed.
public enum ExportError: Error, Equatable, CustomStringConvertible {
  /// The format needs a stream of events, and no process has one.
  case noEvents(directory: String, format: ExportFormat, tracer: String)
  /// Folded stacks need stacks, and this tracer keeps none.
  case noStacks(directory: String, tracer: String)
  /// There is something to read, and nothing was called in it.
  case nothingCalled(directory: String)
  case cannotWrite(path: String, operation: String, errno: Int32)
  case isDirectory(path: String)
  case folderExists(path: String)
  /// The format is a folder of files.
  case needsFolder(format: ExportFormat)

  /// One line for people: what is wrong, where, and what helps.
  public var description: String {
    switch self {
    case .noEvents(let directory, let format, let tracer):
      "\(directory): \(format) needs every call with its time, found a recording of the tracer "
        + "\(tracer), which keeps none: record with --tracer function_graph"
        + (tracer == "callgraph" ? ", or export it as folded" : "")
    case .noStacks(let directory, let tracer):
      "\(directory): folded needs call stacks, found a recording of the tracer \(tracer), which "
        + "keeps none: record with --tracer callgraph or function_graph"
    case .nothingCalled(let directory):
      "\(directory): no call in it: nothing to export; nopscope info \(directory) tells more"
    case .cannotWrite(let path, let operation, let errno):
      "\(path): \(operation): \(String(cString: strerror(errno)))"
    case .isDirectory(let path):
      "\(path): expected a file to write, found a directory: name a file in it"
    case .folderExists(let path):
      "\(path): exists already, and is not an empty directory: remove it or choose another with -o"
    case .needsFolder(let format):
      "\(format): writes a directory of files, which cannot go into a pipe: name it with -o DIR"
    }
  }
}
