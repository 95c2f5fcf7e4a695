// SPDX-License-Identifier: Apache-2.0
//
// Values as JSON, for the documents of the commands and for the text files of a recording. A start
// of `nopscope record` waits for this: Foundation's encoder takes 0.15 ms more for its first value.

/// A value as JSON in UTF-8, on one line, without its newline.
///
/// Keys are sorted: the same contents are the same bytes. What a value lacks is null, where its
/// `encode(to:)` is the compiler's; one that is written by hand can leave a key out.
public func jsonBytes(_ value: some Encodable) throws -> [UInt8] {
  let node = JSONNode()
  try value.encode(to: JSONNodeEncoder(node: node))
  var bytes: [UInt8] = []
  node.write(to: &bytes)
  return bytes
}
