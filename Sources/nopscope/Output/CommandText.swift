// SPDX-License-Identifier: Apache-2.0

/// A program and its arguments after its name, as a shell would be told, by which processes of one program
/// are told apart: `/bin/sh -c 'make all'`. Of more than 200 characters of arguments the rest is `…`. Not
/// safe for a terminal as it is.
func commandText(_ program: String, _ arguments: [String]?) -> String {
  let most = 200
  let words = (arguments ?? []).dropFirst().map(shellWord).joined(separator: " ")
  if words.isEmpty { return program }
  return program + " " + (words.count > most ? words.prefix(most - 1) + "…" : words)
}

/// In quotes where a shell would take it for none or for several.
private func shellWord(_ word: String) -> String {
  let needsQuotes =
    word.isEmpty || word.contains { $0.isWhitespace || "'\"\\$`;&|<>()*?".contains($0) }
  return needsQuotes ? "'" + word.replacing("'", with: "'\\''") + "'" : word
}
