// swift-tools-version: 6.1
// SPDX-License-Identifier: Apache-2.0
//
// Data goes one way: an ELF file -> its call sites -> a transaction on live text. Each arrow is one
// dependency below; nothing points back.

import PackageDescription

let strictness: [SwiftSetting] = [.enableUpcomingFeature("ExistentialAny")]

// The specimens are C and nothing else: functions compiled with -pg, NEEDED libc alone. SwiftPM puts
// the Swift runtime's -l options before any flag of ours, so `link/` holds empty linker scripts of
// those names, found first. `-O1 -fno-omit-frame-pointer` gives every function the prologue
// `push %rbp; mov %rsp,%rbp`, so that its call site stands at +4.
let specimenCompile: [CSetting] = [
  .unsafeFlags([
    "-pg", "-O1", "-fno-inline", "-fno-omit-frame-pointer", "-fcf-protection=none",
    "-fno-exceptions", "-fno-asynchronous-unwind-tables", "-g0",
  ])
]
let specimenLink: [LinkerSetting] = [
  .unsafeFlags([
    "-L\(Context.packageDirectory)/CSupport/Specimen/link", "-static-stdlib", "-nostartfiles",
    "-Xlinker", "--build-id=sha1", "-Xlinker", "-znow",
  ])
]

let package = Package(
  name: "nopscope",
  products: [
    .executable(name: "nopscope", targets: ["nopscope"]),
    .library(name: "LivePatching", targets: ["LivePatching"]),
    .library(name: "Specimen", type: .dynamic, targets: ["Specimen"]),
    .library(name: "SpecimenOther", type: .dynamic, targets: ["SpecimenOther"]),
    .library(name: "NopscopeAgent", type: .dynamic, targets: ["Agent"]),
    .library(name: "NopscopeTrampolines", type: .dynamic, targets: ["Trampolines"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", exact: "1.8.2")
  ],
  targets: [
    // C and assembly. Of Capstone the header alone: the library is loaded when it is needed.
    .systemLibrary(
      name: "CCapstone", path: "CSupport/CCapstone", providers: [.apt(["libcapstone-dev"])]),
    .target(name: "CMachineCode", dependencies: ["CCapstone"], path: "CSupport/CMachineCode"),
    // Parts of it run while a traced thread has arguments in vector registers.
    .target(
      name: "CPatchCore", path: "CSupport/CPatchCore",
      cSettings: [.unsafeFlags(["-mgeneral-regs-only"])]),
    .target(
      name: "CUnloadLab", dependencies: ["CMachineCode", "CPatchCore"],
      path: "CSupport/CUnloadLab",
      // mcount runs before the function it traces has saved its floating-point arguments.
      cSettings: [.unsafeFlags(["-mgeneral-regs-only", "-O2", "-fno-omit-frame-pointer"])]),
    .target(
      name: "Specimen", path: "CSupport/Specimen", exclude: ["link"], cSettings: specimenCompile,
      linkerSettings: specimenLink),
    .target(
      name: "SpecimenOther", path: "CSupport/SpecimenOther", cSettings: specimenCompile,
      linkerSettings: specimenLink),

    // Header only: what the agent writes and the readers read.
    .target(name: "CRecordingABI", path: "CSupport/CRecordingABI"),
    // The demanglers of libstdc++ and of the Swift runtime, with a bound on what they print.
    // The static library: the shared one does not export the printer that can be stopped.
    .target(
      name: "CDemangle", path: "CSupport/CDemangle",
      linkerSettings: [.linkedLibrary(":libstdc++.a")]),
    // What runs in the traced program. C and assembly, NEEDED libc alone.
    .target(
      name: "Agent", dependencies: ["CPatchCore", "CRecordingABI"], path: "CSupport/Agent",
      exclude: ["exports.map"],
      cSettings: [
        .unsafeFlags(["-mgeneral-regs-only", "-O2", "-fvisibility=hidden", "-fno-stack-protector"])
      ],
      linkerSettings: [
        .unsafeFlags([
          "-L\(Context.packageDirectory)/CSupport/Specimen/link", "-static-stdlib",
          "-nostartfiles", "-Xlinker", "-znow", "-Xlinker", "-z", "-Xlinker", "initfirst",
          "-Xlinker", "--build-id=sha1", "-Xlinker",
          "--version-script=\(Context.packageDirectory)/CSupport/Agent/exports.map",
        ])
      ]),
    // The address range of hooked returns, and its unwind rule: see frames.S. Of the linkers that
    // Swift comes with none makes a segment of more than 2 GiB; left to itself, this one would make
    // it a part of the writable one. It needs nothing, libc neither: loaded before libc has begun, it
    // would have libc begin without the program's environment.
    .target(
      name: "Trampolines", path: "CSupport/Trampolines",
      linkerSettings: [
        .unsafeFlags([
          "-L\(Context.packageDirectory)/CSupport/Specimen/link", "-static-stdlib",
          "-nostartfiles", "-Xclang-linker", "-nostdlib", "-use-ld=bfd", "-Xlinker",
          "--section-start=.nopscope.trampolines=0x400000", "-Xlinker", "--build-id=sha1",
        ])
      ]),

    // The soak's threads, forks and counting entries.
    .target(name: "CSoak", path: "CSupport/CSoak", cSettings: [.unsafeFlags(["-O2"])]),

    // What the recorder needs of the system and Swift cannot say.
    .target(
      name: "CRecorder", dependencies: ["CRecordingABI"], path: "CSupport/CRecorder"),

    // Swift.
    .target(name: "ELFImage", swiftSettings: strictness),
    .target(name: "MachineCode", dependencies: ["CMachineCode"], swiftSettings: strictness),
    .target(
      name: "CallSites", dependencies: ["ELFImage", "MachineCode"], swiftSettings: strictness),
    .target(
      name: "LivePatching",
      dependencies: ["CallSites", "ELFImage", "MachineCode", "CMachineCode", "CPatchCore"],
      swiftSettings: strictness),
    // Where the agent, the trampolines and the specimens are, built or installed.
    .target(name: "ProductFiles", swiftSettings: strictness),
    .target(
      name: "UnloadLab",
      dependencies: [
        "CallSites", "LivePatching", "MachineCode", "ProductFiles", "CPatchCore", "CUnloadLab",
      ],
      swiftSettings: strictness),
    .target(
      name: "RecordingReader", dependencies: ["CDemangle", "CRecordingABI"],
      swiftSettings: strictness),
    .target(name: "TraceAnalysis", dependencies: ["RecordingReader"], swiftSettings: strictness),
    .target(
      name: "TraceExport", dependencies: ["RecordingReader", "TraceAnalysis"],
      swiftSettings: strictness),
    .target(
      name: "Recorder",
      dependencies: [
        "CallSites", "ELFImage", "MachineCode", "CDemangle", "CRecordingABI", "CRecorder",
      ],
      swiftSettings: strictness),
    .target(
      name: "PatchBench",
      dependencies: [
        "CallSites", "ELFImage", "LivePatching", "MachineCode", "CMachineCode", "CPatchCore",
        "CUnloadLab",
      ],
      swiftSettings: strictness),
    .target(
      name: "Soak",
      dependencies: [
        "CallSites", "CPatchCore", "CSoak", "LivePatching", "MachineCode", "RecordingReader",
        "TraceAnalysis",
      ],
      swiftSettings: strictness),
    .executableTarget(
      name: "nopscope",
      dependencies: [
        "CRecorder", "RecordingReader", "Soak", "TraceAnalysis", "TraceExport", "Recorder",
        "CallSites", "ELFImage", "LivePatching", "MachineCode", "PatchBench", "ProductFiles",
        "UnloadLab",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strictness,
      linkerSettings: [
        .unsafeFlags([
          "-static-stdlib", "-l_FoundationCollections", "-l_FoundationCShims",
          "-lswiftSynchronization",
        ])
      ]),

    // Tests mirror the sources.
    .target(name: "TestSupport", dependencies: ["CRecordingABI"], path: "Tests/TestSupport"),
    .target(name: "CTestSupport", dependencies: ["CPatchCore"], path: "Tests/CTestSupport"),
    .testTarget(name: "ELFImageTests", dependencies: ["ELFImage", "TestSupport"]),
    .testTarget(
      name: "MachineCodeTests", dependencies: ["MachineCode", "CMachineCode", "TestSupport"]),
    .testTarget(name: "ProductFilesTests", dependencies: ["ProductFiles"]),
    .testTarget(name: "CallSitesTests", dependencies: ["CallSites", "TestSupport"]),
    .testTarget(
      name: "LivePatchingTests",
      dependencies: [
        "LivePatching", "CallSites", "MachineCode", "CMachineCode", "CPatchCore", "CTestSupport",
        "PatchBench", "TestSupport",
      ]),
    .testTarget(
      name: "UnloadLabTests",
      dependencies: ["UnloadLab", "CUnloadLab", "CPatchCore", "LivePatching", "TestSupport"]),
    .testTarget(
      name: "RecordingReaderTests",
      dependencies: ["RecordingReader", "CRecordingABI", "TestSupport"]),
    .testTarget(
      name: "TraceAnalysisTests",
      dependencies: ["TraceAnalysis", "RecordingReader", "CRecordingABI", "TestSupport"]),
    .testTarget(
      name: "TraceExportTests",
      dependencies: [
        "TraceExport", "TraceAnalysis", "RecordingReader", "CRecordingABI", "TestSupport",
      ]),
    .testTarget(
      name: "AgentTests", dependencies: ["TestSupport"], exclude: ["Programs"]),
    .testTarget(
      name: "RecorderTests",
      dependencies: [
        "Recorder", "CRecorder", "CPatchCore", "CRecordingABI", "CallSites", "ELFImage",
        "MachineCode", "TestSupport",
      ]),
    .testTarget(name: "NopscopeTests", dependencies: ["ELFImage", "PatchBench", "TestSupport"]),
    // What the fuzzers run, and the tests that run it on the corpora.
    .target(
      name: "FuzzEntries",
      dependencies: [
        "CallSites", "ELFImage", "MachineCode", "RecordingReader", "TraceAnalysis", "TraceExport",
        "Recorder",
      ],
      path: "Tests/Fuzzing/Entries"),
    .testTarget(
      name: "FuzzingTests", dependencies: ["CRecordingABI", "FuzzEntries", "TestSupport"],
      path: "Tests/Fuzzing/Replay"),
  ]
)

// scripts/fuzz builds the fuzzers, with --sanitize=fuzzer: nobody else can link them.
if Context.environment["NOPSCOPE_FUZZ_BUILD"] != nil {
  package.targets += [
    .systemLibrary(name: "CLibFuzzer", path: "Tests/Fuzzing/CLibFuzzer"),
    .executableTarget(
      name: "nopscope-fuzz", dependencies: ["CLibFuzzer", "FuzzEntries"],
      path: "Tests/Fuzzing/Driver"),
  ]
}
