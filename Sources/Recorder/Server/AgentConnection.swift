// SPDX-License-Identifier: Apache-2.0

import CRecorder

/// The connection of one agent.
final class AgentConnection {
  /// The process that connected, as the kernel reports it.
  let peer: Int32
  /// Set by its HELLO.
  var process: TracedProcess?
  /// Nothing more is read from it or sent to it.
  var isClosing = false
  let socket: Descriptor
  /// Of its socket in the event loop.
  var registration: EventLoop.Registration?

  init(socket: consuming Descriptor, peer: Int32) {
    self.socket = socket
    self.peer = peer
  }

  /// Sends one message; a client that does not read, or has ended meanwhile, loses its connection.
  func send<Message: BitwiseCopyable>(_ message: Message, descriptors: [Int32] = []) {
    let sent = withUnsafeBytes(of: message) { bytes in
      nrc_send(
        socket.number, bytes.baseAddress, bytes.count, descriptors, Int32(descriptors.count))
    }
    if sent != 0 { isClosing = true }
  }
}

/// A process that has closed its connection: it ends, or it becomes another program, which connects
/// again.
///
/// Or it has closed a descriptor that it did not know, and records on into its memory file. Or it
/// was started with the agent and has not connected yet: then it is not traced so far.
final class ExitingProcess {
  let pid: Int32
  let traced: TracedProcess?
  /// Readable at its end.
  let descriptor: Descriptor
  /// Of its end, in the event loop.
  var end: EventLoop.Registration?
  /// Of the next look at it, in the event loop.
  var look: EventLoop.Registration?
  /// Whether it may still be on the way to a HELLO.
  var progress: StartProgress

  init(pid: Int32, traced: TracedProcess?, descriptor: consuming Descriptor) {
    self.pid = pid
    self.traced = traced
    self.descriptor = descriptor
    progress = StartProgress(of: pid)
  }
}
