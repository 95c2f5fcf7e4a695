// SPDX-License-Identifier: Apache-2.0
//
// The audit. Live text is compared with the file it was mapped from, byte for byte:
//   1. read /proc/PID/maps; take each file that has an executable mapping;
//   2. open that very file (AuditFile.swift) and read its executable segments;
//   3. compare each of its executable mappings, and any other mapping of those segments, live bytes
//      by /proc/PID/mem: a page that lost its X, or never had R, is compared too;
//   4. read the maps again; report what was unmapped meanwhile as `vanished`;
//   5. mark the changes that the journal explains; the others are unknown.
// Nothing is written, no thread is stopped: a change made during the audit is seen or not.
// Reading memory that no thread has touched yet brings its file's pages into the process.

public import Glibc
public import LivePatching
import Units

/// Compares the text of a process with its files on disk.
///
/// Blocks while it reads (0.15 s for 160 MB of text in the page cache); takes no lock of the
/// process, and may be used on the caller's own. Bounded memory: two buffers of 1 MiB and at most 8
/// MiB of differing bytes. Memory of no file (vdso, vsyscall, code made at run time) has nothing to
/// be compared with and is left out; so is a file none of whose mappings is executable. Our own
/// jump in the loader is known.
public func auditText(
  of process: pid_t, known: [KnownChange] = []
) throws(AuditError) -> AuditReport {
  try auditText(of: process, known: known, opensMapFiles: true, afterComparing: {})
}

/// The audit, with what a test needs: to do without /proc/PID/map_files as an unprivileged user
/// has to, and to change the process between the comparison and the second look at its maps.
func auditText(
  of process: pid_t, known: [KnownChange] = [], opensMapFiles: Bool, afterComparing: () -> Void
) throws(AuditError) -> AuditReport {
  let directory = ProcessDirectory(process)
  let mappings = try directory.fileMappings()
  let memory = try directory.open("mem")
  var audit = TextAudit(directory: directory, opensMapFiles: opensMapFiles)
  for mapping in mappings where mapping.isExecutable && !audit.hasSeen(mapping) {
    audit.compare(fileOf: mapping, mappings.filter { $0.isSameFile(as: mapping) }, memory)
  }
  afterComparing()
  if audit.isSuspicious { audit.dropVanished(present: try directory.fileMappings()) }
  let jumps = audit.loaderJumps(memory).filter { jump in
    !known.contains { $0.address == jump.address }
  }
  return audit.report(known: known + jumps)
}

/// A part of memory that was compared with a part of a file.
private struct ComparedRange {
  var mapping: MemoryMapping
  /// Link-time address less file offset; nil where no program header says.
  var linkDelta: UInt64?
}

/// One audit under way.
private struct TextAudit: ~Copyable {
  private let directory: ProcessDirectory
  private let opensMapFiles: Bool
  private var ranges: [ComparedRange] = []
  private var seen: [MemoryMapping] = []
  private var uncompared: [UncomparedText] = []
  private var comparer = TextComparer()

  init(directory: ProcessDirectory, opensMapFiles: Bool) {
    self.directory = directory
    self.opensMapFiles = opensMapFiles
  }

  func hasSeen(_ mapping: MemoryMapping) -> Bool {
    seen.contains { $0.isSameFile(as: mapping) }
  }

  /// Whether the maps should be read again: something differs, or could not be read.
  var isSuspicious: Bool { !comparer.differences.runs.isEmpty || !uncompared.isEmpty }

  /// Compares the text of one file; `mappings` are all that show it, `first` an executable one.
  mutating func compare(
    fileOf first: MemoryMapping, _ mappings: [MemoryMapping], _ memory: borrowing ReadableFile
  ) {
    seen.append(first)
    do throws(UncomparedText.Reason) {
      let file = try ReadableFile.mapped(first, in: directory, opensMapFiles)
      let segments: TextSegments
      let size: UInt64
      do throws(Errno) {
        segments = try TextSegments(of: file)
        size = UInt64(try file.status().st_size)
      } catch { throw .fileUnreadable(error.number) }
      if segments.hasTextRelocations { throw .textRelocations }
      let parts = textParts(mappings, segments)
      noteHoles(in: parts, segments)
      for part in parts { compare(part, file, size: size, memory) }
    } catch {
      for mapping in mappings where mapping.isExecutable { skip(mapping, error) }
    }
  }

  /// What of `mappings` is text: all that is executable, and the parts of the executable segments
  /// that are mapped where the segment belongs but have lost the permission.
  private func textParts(
    _ mappings: [MemoryMapping], _ segments: TextSegments
  ) -> [ComparedRange] {
    var biases: Set<LoadBias> = []
    for mapping in mappings where mapping.isExecutable {
      if let segment = segments.segment(showing: mapping.fileOffset) {
        biases.insert(segment.bias(of: mapping))
      }
    }
    return mappings.compactMap { mapping in
      guard let segment = segments.segment(showing: mapping.fileOffset) else {
        return mapping.isExecutable ? ComparedRange(mapping: mapping) : nil
      }
      guard mapping.isExecutable || biases.contains(segment.bias(of: mapping)) else { return nil }
      var part = mapping
      let end = segment.end(ofMappingThatIsExecutable: mapping.isExecutable)
      if mapping.fileOffset + mapping.length > end {
        part.end = mapping.start + max(end, mapping.fileOffset) - mapping.fileOffset
      }
      return ComparedRange(mapping: part, linkDelta: segment.linkDelta)
    }
  }

  /// Lists the pages of a segment that its neighbours' mappings leave out: something else has been
  /// mapped over them.
  private mutating func noteHoles(in parts: [ComparedRange], _ segments: TextSegments) {
    for segment in segments.executable {
      // One module may be mapped several times; the parts of one are neighbours. By where the
      // file's first byte would be.
      var byOrigin: [CodeAddress: [MemoryMapping]] = [:]
      for part in parts where segment.filePages.contains(part.mapping.fileOffset) {
        byOrigin[part.mapping.start &- part.mapping.fileOffset, default: []].append(part.mapping)
      }
      for (origin, mappings) in byOrigin {
        var expected = segment.filePages.lowerBound
        for mapping in mappings {
          note(hole: expected..<max(expected, mapping.fileOffset), origin: origin, beside: mapping)
          expected = max(expected, mapping.fileOffset + mapping.length)
        }
        if let last = mappings.last {
          note(
            hole: expected..<max(expected, segment.filePages.upperBound), origin: origin,
            beside: last)
        }
      }
    }
  }

  private mutating func note(
    hole: Range<UInt64>, origin: CodeAddress, beside mapping: MemoryMapping
  ) {
    guard !hole.isEmpty else { return }
    uncompared.append(
      UncomparedText(
        module: mapping.printedPath, address: origin &+ hole.lowerBound,
        length: hole.upperBound - hole.lowerBound,
        reason: .notMapped))
  }

  private mutating func compare(
    _ part: ComparedRange, _ file: borrowing ReadableFile, size: UInt64,
    _ memory: borrowing ReadableFile
  ) {
    ranges.append(part)
    let failures = comparer.compare(
      range: ranges.count - 1, part.mapping, file, size: size, memory)
    for failure in failures {
      uncompared.append(
        UncomparedText(
          module: part.mapping.printedPath, address: failure.address, length: failure.length,
          reason: failure.reason))
    }
  }

  private mutating func skip(_ mapping: MemoryMapping, _ reason: UncomparedText.Reason) {
    uncompared.append(
      UncomparedText(
        module: mapping.printedPath, address: mapping.start, length: mapping.length,
        reason: reason))
  }
}

extension TextAudit {
  /// Takes back what was found in text that is not mapped any more: its bytes may have been
  /// another's.
  mutating func dropVanished(present: [MemoryMapping]) {
    for (index, range) in ranges.enumerated() {
      let mapping = range.mapping
      let isThere = present.contains {
        $0.isSameFile(as: mapping) && $0.shows(mapping.fileOffset, at: mapping.start)
      }
      guard !isThere else { continue }
      comparer.forget(range: index)
      uncompared.removeAll { mapping.start <= $0.address && $0.address < mapping.end }
      skip(mapping, .vanished)
    }
  }

  func loaderJumps(_ memory: borrowing ReadableFile) -> [KnownChange] {
    var differences = comparer.differences
    differences.sort()
    let descriptor = memory.descriptor
    func read(_ address: CodeAddress, _ count: Int) -> [UInt8]? {
      var bytes = [UInt8](repeating: 0, count: count)
      guard let place = off_t(exactly: address.rawValue) else { return nil }
      return pread(descriptor, &bytes, count, place) == count ? bytes : nil
    }
    return differences.loaderJumps(
      module: { [ranges] in ranges[$0].mapping.printedPath }, read: read)
  }

  consuming func report(known: [KnownChange]) -> AuditReport {
    var report = AuditReport()
    var differences = comparer.differences
    differences.sort()
    (report.differences, report.absentChanges) = differences.classify(known: known) {
      [ranges] index, address in
      let range = ranges[index]
      let distance: UInt64 = address &- range.mapping.start
      let offset = distance &+ range.mapping.fileOffset
      return TextDifference(
        module: range.mapping.printedPath, address: address, fileOffset: offset,
        linkAddress: range.linkDelta.map { ModuleOffset(offset &+ $0) }, fileBytes: [],
        liveBytes: [], isKnown: false)
    }
    report.bytesCompared = comparer.bytesCompared
    report.bytesDiffering = comparer.bytesDiffering
    report.bytesUnlisted = differences.unlisted
    report.uncompared = uncompared.sorted { $0.address < $1.address }
    var paths: Set<String> = []
    for range in ranges.sorted(by: { $0.mapping.start < $1.mapping.start })
    where paths.insert(range.mapping.printedPath).inserted {
      report.modules.append(range.mapping.printedPath)
    }
    return report
  }
}
