// SPDX-License-Identifier: Apache-2.0

/// The experiment behind the table of the scene `unload`.
public struct UnloadExperiment {
  private let specimens: PreparedSpecimens

  /// Experiments with these specimens.
  public init(_ specimens: PreparedSpecimens) { self.specimens = specimens }

  /// Runs one cell.
  public func cell(
    _ engine: LabEngine, _ occupant: Occupant, _ record: RecordState
  ) throws -> UnloadCell {
    // Another thread's mapping may take the place between the close and the next map: that run
    // shows nothing, so it is made again.
    for attempt in 1... {
      do {
        return try run(engine, occupant, record)
      } catch let error as PlacementError where attempt < 5 {
        _ = error
      }
    }
    preconditionFailure("the loop above returns or throws")
  }

  private func run(
    _ engine: LabEngine, _ occupant: Occupant, _ record: RecordState
  ) throws -> UnloadCell {
    let site = try StaleSite(engine, record, specimens: specimens)
    defer { site.close() }
    if engine == .static && record == .pending {
      return unreachable(occupant, site.isConvertedBeforeFirstCall)
    }
    let place = try site.unload(leaving: occupant)
    defer { place.vacate() }
    var isFaulted = false
    let seen = try place.observe { isFaulted = try site.fire(at: occupant) }
    let noppedAgain = try place.library.flatMap { library in
      occupant == .sameModule ? try site.isNoppedAgain(in: library) : nil
    }
    let outcome = outcome(occupant, seen, isFaulted, noppedAgain)
    let expected = UnloadCell.expectation(engine, occupant, record)
    return UnloadCell(
      engine: engine, occupant: occupant, record: record, outcome: outcome,
      deviceReads: seen.deviceReads, deviceWrites: seen.deviceWrites,
      bytesChanged: seen.bytesChanged, expected: expected, held: outcome == expected,
      reads: seen.reads, writeCycles: seen.writeCycles, landed: place.placement.landed,
      noppedAgain: noppedAgain)
  }

  /// A static engine has no pending state: when dlopen returns, with the constructor's calls made,
  /// every site is a nop and none has called mcount.
  private func unreachable(_ occupant: Occupant, _ isUnreachable: Bool) -> UnloadCell {
    UnloadCell(
      engine: .static, occupant: occupant, record: .pending,
      outcome: isUnreachable ? .unreachable : .overwritten, deviceReads: 0, deviceWrites: 0,
      bytesChanged: 0, expected: .unreachable, held: isUnreachable, landed: false)
  }

  private func outcome(
    _ occupant: Occupant, _ seen: OccupiedAddress.Observation, _ isFaulted: Bool,
    _ noppedAgain: Bool?
  ) -> Outcome {
    if seen.deviceReads + seen.deviceWrites > 0 { return .deviceAccess }
    if seen.bytesChanged > 0 { return .overwritten }
    if isFaulted { return .fault }
    if seen.writeCycles ?? 0 > 0 { return .mismatchWriteCycle }
    return noppedAgain == false ? .neverNopped : .untouched
  }
}
