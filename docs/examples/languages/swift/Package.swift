// swift-tools-version: 5.9
// SPDX-License-Identifier: Apache-2.0

import PackageDescription

let package = Package(
  name: "squares",
  targets: [
    .target(name: "CSquares"),
    .executableTarget(name: "squares", dependencies: ["CSquares"]),
  ]
)
