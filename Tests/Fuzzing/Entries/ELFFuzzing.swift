// SPDX-License-Identifier: Apache-2.0

import ELFImage
import Units

/// Reads all that the ELF reader offers.
func fuzzELF(_ input: [UInt8], _ broken: inout Broken) {
  let bytes = ELFBytes(path: "/nonexistent/input", storage: input)
  guard let image = try? ELFImage(bytes: bytes) else { return }
  checkAddresses(image, &broken)
  for section in image.sections {
    _ = try? image.name(of: section)
    broken.unless(
      image.fileRange(of: section).upperBound <= input.count, "a section lies outside the file")
    if section.type == Section.Kind.relocations, let table = try? image.relocations(of: section) {
      for index in 0..<table.count { _ = try? table[index] }
    }
  }
  _ = image.sections(named: ".eh_frame")
  for table in (try? image.dynamicRelocations()) ?? [] {
    for index in 0..<table.count { _ = try? table[index] }
  }
  for symbols in [try? image.staticSymbols(), try? image.dynamicSymbols()] {
    if let symbols { read(symbols) }
  }
  _ = try? image.address(ofSymbol: "mcount")
  let debugFiles = DebugFiles(root: "/nonexistent", mostDecompressed: 1 << 20)
  if let symbols = debugFiles.find(for: image).symbols { read(symbols) }
  let functions = (try? image.unwindFunctions()) ?? []
  broken.unless(
    functions.count <= input.count, "\(functions.count) functions in \(input.count) bytes")
}

private func read(_ symbols: SymbolTable) {
  // A name may be 4 kB long and shared by all symbols: that is a test of patience, not of bounds.
  var patience = 1 << 20
  for index in 0..<symbols.count {
    guard let symbol = try? symbols[index] else { continue }
    _ = symbols.isNamed("mcount", symbol)
    if patience > 0, let name = try? symbols.name(of: symbol) { patience -= name.utf8.count + 1 }
  }
}

/// The binary search agrees with a search from end to end, and what it finds lies in the file.
private func checkAddresses(_ image: ELFImage, _ broken: inout Broken) {
  var probes: [ModuleOffset] = [.zero, .max]
  for segment in image.loadable.prefix(16) {
    probes += [segment.address, segment.address &- 1, segment.fileAddresses.upperBound]
    probes.append(segment.address + segment.fileSize / 2)
  }
  if let span = image.memorySpan { probes += [span.lowerBound, span.upperBound] }
  for address in probes {
    let found = image.segment(containing: address)
    let expected = image.loadable.first { $0.fileAddresses.contains(address) }
    broken.unless(found == expected, "the segment at \(address) is not the one that holds it")
    for size in [UInt64(0), 1, 8, .max] {
      guard let offset = image.fileOffset(ofAddress: address, size: size) else { continue }
      let end = UInt64(offset) + size
      broken.unless(end <= image.bytes.count, "\(size) bytes at \(address) end outside the file")
    }
  }
}
