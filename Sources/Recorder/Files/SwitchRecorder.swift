// SPDX-License-Identifier: Apache-2.0

import CRecorder
import CRecordingABI
import Glibc
import RecordingSchema
import TextFormat

/// Writes when the program's threads left the CPU and came back: the file `switches`.
///
/// Must be made by the thread that starts the program, before it does.
final class SwitchRecorder {
  private let rings: OpaquePointer
  private let file: Descriptor
  private let loop: EventLoop
  private var header = nrec_switches_header()
  private var registrations: [EventLoop.Registration] = []
  private var isFailed = false

  /// Switches taken from a ring at once.
  private static let most = 4096
  /// What is in the rings is written at least so often.
  private static let nanoseconds: UInt64 = 1_000_000_000

  /// Throws one line where the kernel does not let this user, or the file cannot be made.
  init(_ folder: RecordingFolder, _ loop: EventLoop) throws(ServerError) {
    var error: Int32 = 0
    guard let rings = nrc_switches_open(&error) else {
      throw ServerError(description: Self.refusal(error))
    }
    self.rings = rings
    self.loop = loop
    do {
      file = Descriptor(try folder.create(RecordingFormat.switchesName))
    } catch {
      nrc_switches_close(rings)
      throw ServerError(description: "\(error)")
    }
    header.magic = UInt64(NREC_SWITCHES_MAGIC)
    let now = Self.moment()
    (header.first_ticks, header.first_nanoseconds) = (now.ticks, now.nanoseconds)
    for ring in 0..<nrc_switches_count(rings) {
      let descriptor = nrc_switches_descriptor(rings, ring)
      if descriptor < 0 { continue }
      let added = loop.add(descriptor) { [weak self] in self?.drain(ring) }
      if let added { registrations.append(added) }
    }
    drainLater()
  }

  deinit { nrc_switches_close(rings) }

  private static func moment() -> (ticks: UInt64, nanoseconds: UInt64) {
    var ticks: UInt64 = 0
    var nanoseconds: UInt64 = 0
    nrc_switches_now(&ticks, &nanoseconds)
    return (ticks, nanoseconds)
  }

  private static func refusal(_ error: Int32) -> String {
    let reason = "perf_event_open: \(systemError(error))"
    guard error == EACCES || error == EPERM else { return reason }
    let paranoia = "/proc/sys/kernel/perf_event_paranoid"
    let file = Descriptor(open(paranoia, O_RDONLY | O_CLOEXEC))
    let level = file.number >= 0 ? file.readSome(at: 0, atMost: 16) : nil
    let text = String(decoding: level ?? [], as: UTF8.self).filter { !$0.isWhitespace }
    return text.isEmpty
      ? reason : reason + " (\(paranoia) is \(text); up to 2, users may record their own)"
  }

  private func drainLater() {
    loop.after(nanoseconds: Self.nanoseconds) { [weak self] in
      guard let self else { return }
      drainAll()
      drainLater()
    }
  }

  private func drainAll() {
    for ring in 0..<nrc_switches_count(rings) { drain(ring) }
  }

  private func drain(_ ring: Int32) {
    var lost: UInt64 = 0
    let switches = [nrec_switch](unsafeUninitializedCapacity: Self.most) { buffer, filled in
      filled = nrc_switches_read(rings, ring, buffer.baseAddress, buffer.count, &lost)
    }
    header.lost &+= lost
    if switches.isEmpty || isFailed { return }
    // The first records come behind the header, which is written with them.
    writeHeader()
    isFailed = isFailed || file.write(switches.withUnsafeBytes { Array($0) }) != 0
    if switches.count == Self.most { drain(ring) }
  }

  private func writeHeader() {
    let now = Self.moment()
    (header.last_ticks, header.last_nanoseconds) = (now.ticks, now.nanoseconds)
    let size = MemoryLayout<nrec_switches_header>.size
    let written = withUnsafeBytes(of: header) { pwrite(file.number, $0.baseAddress, size, 0) }
    if written != size || lseek(file.number, 0, SEEK_END) < off_t(size) { isFailed = true }
  }

  /// Writes what is left. Nothing is waited for any more.
  func finish() {
    registrations.forEach(loop.remove)
    registrations = []
    drainAll()
    if !isFailed { writeHeader() }
  }
}
