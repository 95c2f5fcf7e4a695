// SPDX-License-Identifier: Apache-2.0

import CSquares

@inline(never)
func sumOfSquares(_ n: UInt32) -> UInt32 {
  var sum: UInt32 = 0
  for i in 1...n { sum &+= square(i) }
  return sum
}

print(sumOfSquares(999 + UInt32(CommandLine.arguments.count)))
