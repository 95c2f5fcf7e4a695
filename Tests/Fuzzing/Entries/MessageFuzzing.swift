// SPDX-License-Identifier: Apache-2.0

import Recorder

/// The input is one packet from an agent.
func fuzzMessage(_ input: [UInt8], _ broken: inout Broken) {
  guard let message = input.withUnsafeBytes({ AgentMessage($0) }) else { return }
  if case .module(let module) = message {
    broken.unless(module.textStart <= module.textEnd, "a text that ends before it begins")
    broken.unless(!module.path.utf8.contains(0), "a path with a NUL in it")
    broken.unless(module.buildID.count <= 64, "a build-id of \(module.buildID.count) bytes")
  }
}
