// SPDX-License-Identifier: Apache-2.0

import RecordingSchema
import Testing

@testable import Recorder

@Suite struct MachineReportTests {
  @Test("A shadow stack forbids the tracers that hook returns, and no others")
  func shadowStack() {
    #expect(MachineReport.tracers(hasShadowStack: true) == [.function, .callGraph, .hits])
    #expect(MachineReport.tracers(hasShadowStack: false) == Tracer.allCases)
  }
}
