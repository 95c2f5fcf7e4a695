// SPDX-License-Identifier: Apache-2.0
//
// Numbers as people read them: what reports, messages and tables show. No locale: every output is
// the same on every machine.

/// `4,812`.
public func grouped(_ number: some BinaryInteger) -> String {
  var text = ""
  for (index, digit) in String(number).reversed().enumerated() {
    if index > 0, index % 3 == 0, digit != "-" { text.append(",") }
    text.append(digit)
  }
  return String(text.reversed())
}

/// `1 thread`, `1,234 threads`.
public func counted(_ number: some BinaryInteger, _ noun: String) -> String {
  counted(number, noun, plural: noun + "s")
}

/// `1 process`, `2 processes`.
public func counted(_ number: some BinaryInteger, _ noun: String, plural: String) -> String {
  "\(grouped(number)) \(number == 1 ? noun : plural)"
}

/// `12.30`: so many digits after the point; `?` where the number is too large or is none.
public func fixed(_ value: Double, _ digits: Int) -> String {
  var scale = 1.0
  for _ in 0..<digits { scale *= 10 }
  let scaled = (abs(value) * scale).rounded()
  guard scaled.isFinite, scaled < 1e18 else { return "?" }
  let sign = value < 0 && scaled > 0 ? "-" : ""
  let (whole, rest) = Int(scaled).quotientAndRemainder(dividingBy: Int(scale))
  return digits == 0 ? "\(sign)\(whole)" : "\(sign)\(whole).\(String(rest).zeroPadded(to: digits))"
}

/// `1.9 M`: thousands of the unit that fits, with one digit after the point, which is cut off.
///
/// `units`: of the number itself and of its thousands, each as it follows the number.
public func scaled(_ number: UInt64, _ units: [String]) -> String {
  if number < 1000 { return "\(number)\(units[0])" }
  var tenths = number / 100
  var unit = 1
  while tenths >= 10_000, unit + 1 < units.count {
    tenths /= 1000
    unit += 1
  }
  return "\(grouped(tenths / 10)).\(tenths % 10)\(units[unit])"
}

/// `1.234 us`: three decimals in the largest unit that keeps the number at 1 or more.
public func durationText(_ nanoseconds: Double) -> String {
  let size = abs(nanoseconds)
  if size < 999.5 { return "\(Int(nanoseconds.rounded())) ns" }
  let units: [(name: String, size: Double)] = [("us", 1e3), ("ms", 1e6), ("s", 1e9)]
  let unit = units.first { size < 999.9995 * $0.size } ?? (name: "s", size: 1e9)
  guard (size / unit.size * 1000).rounded() < 9e15 else { return "\(nanoseconds / 1e9) s" }
  return "\(fixed(nanoseconds / unit.size, 3)) \(unit.name)"
}

/// The same of a whole number of nanoseconds.
public func durationText(_ nanoseconds: some BinaryInteger) -> String {
  durationText(Double(nanoseconds))
}
