// SPDX-License-Identifier: Apache-2.0

import JSONText

/// Writes the document of a `--json` option to stdout, on one line:
/// `{…,"schema":"nopscope.NAME/1"}`.
///
/// Keys are sorted. What a value lacks is null, never absent: a reader can tell "not known" from
/// "misspelt".
public func writeJSON(_ body: some Encodable, schema name: String, version: Int = 1) throws {
  write(try jsonText(body, schema: name, version: version) + "\n", to: 1)
}

/// The same document as text.
func jsonText(_ body: some Encodable, schema name: String, version: Int) throws -> String {
  try jsonText(Envelope(schema: schemaText(name, version: version), body: body))
}

/// What a document says it is: `nopscope.report/1`.
public func schemaText(_ name: String, version: Int = 1) -> String { "nopscope.\(name)/\(version)" }

/// A value as JSON, on one line.
public func jsonText(_ value: some Encodable) throws -> String {
  String(decoding: try jsonBytes(value), as: UTF8.self)
}

/// Writes a body's members, and beside them its schema.
private struct Envelope<Body: Encodable>: Encodable {
  let schema: String
  let body: Body

  private enum Key: CodingKey { case schema }

  func encode(to encoder: any Encoder) throws {
    try body.encode(to: encoder)
    var container = encoder.container(keyedBy: Key.self)
    try container.encode(schema, forKey: .schema)
  }
}
