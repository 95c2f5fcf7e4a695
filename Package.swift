// swift-tools-version: 6.1
// SPDX-License-Identifier: Apache-2.0
//
// Data goes one way: an ELF file -> its call sites -> a transaction on live text. Each arrow is one
// dependency below; no target depends on a later one.

import Glibc
import PackageDescription

// Debug builds are optimized too, and keep every check: the tests take a quarter less CPU time.
// NOPSCOPE_UNOPTIMIZED=1 swift build: for a debugger.
let optimized: [SwiftSetting] =
  Context.environment["NOPSCOPE_UNOPTIMIZED"] == nil
  ? [.unsafeFlags(["-O", "-assert-config", "Debug"], .when(configuration: .debug))] : []
let strictness: [SwiftSetting] = [.enableUpcomingFeature("ExistentialAny")] + optimized

// Every C target is compiled with these flags, in every build, without warnings.
let warnings: CSetting = .unsafeFlags([
  "-Wall", "-Wextra", "-Wshadow", "-Wstrict-prototypes", "-Wundef", "-Wvla", "-Wwrite-strings",
  "-Wimplicit-fallthrough", "-Wno-missing-field-initializers",
])

// The specimens are only C: functions compiled with -pg; they need only libc at run time. SwiftPM
// puts the Swift runtime's -l options before any flag of ours. So `link/` holds empty linker
// scripts of those names, which the linker finds first. `-O1 -fno-omit-frame-pointer` gives every
// function the prologue `push %rbp; mov %rsp,%rbp`, so that its call site is at +4.
let specimenCompile: [CSetting] = [
  warnings,
  .unsafeFlags([
    "-pg", "-O1", "-fno-inline", "-fno-omit-frame-pointer", "-fcf-protection=none",
    "-fno-exceptions", "-fno-asynchronous-unwind-tables", "-g0",
  ]),
]
let specimenLink: [LinkerSetting] = [
  .unsafeFlags([
    "-L\(Context.packageDirectory)/CSupport/Specimen/link", "-static-stdlib", "-nostartfiles",
    "-Xlinker", "--build-id=sha1", "-Xlinker", "-znow",
  ])
]

// The executables. The loader and the runtime take most of the time of a start. So symbols that
// nothing needs are not exported, libstdc++ and libgcc come from their archives, and 44,000
// relocations are packed where the C library can read that (glibc 2.36). lld packs them, and will
// still come with Swift when gold does not.
let executableLink: [LinkerSetting] = [
  .unsafeFlags(
    [
      "-static-stdlib", "-l_FoundationCollections", "-l_FoundationCShims", "-lswiftSynchronization",
      "-L\(Context.packageDirectory)/CSupport/CDemangle/link", "-Xclang-linker", "-static-libgcc",
      "-use-ld=lld", "-Xlinker", "-z", "-Xlinker", "nostart-stop-gc", "-Xlinker",
      "--no-export-dynamic",
    ] + (readsPackedRelocations ? ["-Xlinker", "-z", "-Xlinker", "pack-relative-relocs"] : [])),
  // NOPSCOPE_KEEP_SYMBOLS=1 swift build -c release: the same code at the same addresses, with names
  // and lines, to read a core or a backtrace of numbers.
  .unsafeFlags(
    Context.environment["NOPSCOPE_KEEP_SYMBOLS"] == nil ? ["-Xlinker", "-s"] : [],
    .when(configuration: .release)),
]

var readsPackedRelocations: Bool {
  var text = [CChar](repeating: 0, count: 64)  // "glibc 2.36"
  confstr(Int32(_CS_GNU_LIBC_VERSION), &text, text.count)
  let version = text.map { UInt8(bitPattern: $0) }.split { !(0x30...0x39).contains($0) }
    .compactMap { Int(String(decoding: $0, as: UTF8.self)) }
  return version.count >= 2 && (version[0], version[1]) >= (2, 36)
}

let package = Package(
  name: "nopscope",
  products: [
    .executable(name: "nopscope", targets: ["nopscope"]),
    .executable(name: "nopscope-bench", targets: ["nopscope-bench"]),
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
    // C and assembly. It uses only Capstone's header: the library is loaded when it is needed.
    .systemLibrary(
      name: "CCapstone", path: "CSupport/CCapstone", providers: [.apt(["libcapstone-dev"])]),
    // libdw's, likewise.
    .systemLibrary(name: "CDwarf", path: "CSupport/CDwarf", providers: [.apt(["libdw-dev"])]),
    // Header only: the kinds that the decoder reports and the patch core's verifier is asked to
    // confirm.
    .target(
      name: "CInstructionKinds", path: "CSupport/CInstructionKinds", cSettings: [warnings]),
    .target(
      name: "CMachineCode", dependencies: ["CCapstone", "CInstructionKinds"],
      path: "CSupport/CMachineCode",
      cSettings: [warnings]),
    // Parts of it run while a traced thread has arguments in vector registers.
    .target(
      name: "CPatchCore", dependencies: ["CInstructionKinds"], path: "CSupport/CPatchCore",
      cSettings: [warnings, .unsafeFlags(["-mgeneral-regs-only"])]),
    .target(
      name: "CUnloadLab", dependencies: ["CMachineCode", "CPatchCore"],
      path: "CSupport/CUnloadLab",
      // mcount runs before the function it traces has saved its floating-point arguments.
      cSettings: [
        warnings, .unsafeFlags(["-mgeneral-regs-only", "-O2", "-fno-omit-frame-pointer"]),
      ]),
    .target(
      name: "Specimen", path: "CSupport/Specimen", exclude: ["link"], cSettings: specimenCompile,
      linkerSettings: specimenLink),
    .target(
      name: "SpecimenOther", path: "CSupport/SpecimenOther", cSettings: specimenCompile,
      linkerSettings: specimenLink),

    // Headers only: what the agent writes and the readers read.
    .target(name: "CRecordingABI", path: "CSupport/CRecordingABI", cSettings: [warnings]),
    // Header only: the patterns of filters, for the agent and the recorder.
    .target(name: "CGlob", path: "CSupport/CGlob", cSettings: [warnings]),
    // How many processors a process may use: so many threads read a recording.
    .target(name: "CProcessors", path: "CSupport/CProcessors", cSettings: [warnings]),
    // The demanglers of libstdc++ and of the Swift runtime, with a limit on their output, and one of
    // our own for Rust.
    // The static library, because the shared one does not export the printer that can be stopped.
    .target(
      name: "CDemangle", path: "CSupport/CDemangle", exclude: ["link"], cSettings: [warnings],
      linkerSettings: [.linkedLibrary(":libstdc++.a")]),
    // Checksums and compressed data of debug files. liblzma is loaded when it is needed.
    .target(
      name: "CDebugFiles", path: "CSupport/CDebugFiles",
      cSettings: [warnings, .unsafeFlags(["-O2"])]),
    // The part that runs in the traced program. C and assembly; it needs only libc at run time.
    .target(
      name: "Agent", dependencies: ["CGlob", "CPatchCore", "CRecordingABI"], path: "CSupport/Agent",
      exclude: ["exports.map"],
      cSettings: [
        warnings, .headerSearchPath("../Trampolines/include"),
        .unsafeFlags(["-mgeneral-regs-only", "-O2", "-fvisibility=hidden", "-fno-stack-protector"]),
      ],
      linkerSettings: [
        .unsafeFlags([
          "-L\(Context.packageDirectory)/CSupport/Specimen/link", "-static-stdlib",
          "-nostartfiles", "-Xlinker", "-znow", "-Xlinker", "-z", "-Xlinker", "initfirst",
          "-Xlinker", "--build-id=sha1", "-Xlinker",
          "--version-script=\(Context.packageDirectory)/CSupport/Agent/exports.map",
        ])
      ]),
    // The address range of hooked returns, and its unwind rule: see trampolines.S. None of the
    // linkers that come with Swift makes a segment of more than 2 GiB. bfd does, but would make it
    // a part of the writable segment if it were not given the address. The library needs no other,
    // not even libc: it is loaded before libc has begun, and libc would then begin without the
    // program's environment.
    .target(
      name: "Trampolines", path: "CSupport/Trampolines",
      linkerSettings: [
        .unsafeFlags([
          "-L\(Context.packageDirectory)/CSupport/Specimen/link", "-static-stdlib",
          "-nostartfiles", "-Xclang-linker", "-nostdlib", "-use-ld=bfd", "-Xlinker",
          "--section-start=.nopscope.trampolines=0x400000", "-Xlinker", "--build-id=sha1",
        ])
      ]),

    // Where functions are defined, by DWARF. libdw is loaded when it is needed, in a process of its
    // own.
    .target(
      name: "CSourceLines", dependencies: ["CDwarf"], path: "CSupport/CSourceLines",
      cSettings: [warnings]),

    // What the recorder needs of the system and cannot express in Swift.
    .target(
      name: "CRecorder", dependencies: ["CRecordingABI"], path: "CSupport/CRecorder",
      cSettings: [warnings]),

    // The code that runs in a process that is visited, and the ptrace calls that start it.
    .target(name: "CVisit", path: "CSupport/CVisit", cSettings: [warnings]),

    // Swift.
    .target(name: "TextFormat", swiftSettings: strictness),
    // The one encoder of JSON: for the documents of commands and the text files of recordings.
    .target(name: "JSONText", swiftSettings: strictness),
    .target(
      name: "CommandOutput", dependencies: ["JSONText", "TextFormat"], swiftSettings: strictness),
    // Addresses and times as types of their own, for every room below.
    .target(name: "Units", swiftSettings: strictness),
    .target(
      name: "ELFImage", dependencies: ["CDebugFiles", "TextFormat", "Units"],
      swiftSettings: strictness),
    .target(
      name: "MachineCode", dependencies: ["CMachineCode", "Units"], swiftSettings: strictness),
    .target(
      name: "CallSites", dependencies: ["ELFImage", "MachineCode", "TextFormat", "Units"],
      swiftSettings: strictness),
    .target(
      name: "LivePatching",
      dependencies: [
        "CallSites", "ELFImage", "MachineCode", "CMachineCode", "CPatchCore", "TextFormat", "Units",
      ],
      swiftSettings: strictness),
    // Finds the agent, the trampolines and the specimens, built or installed.
    .target(name: "ProductFiles", swiftSettings: strictness),
    // Starts a thread in a process that runs, which calls one function of the agent.
    .target(
      name: "Visits", dependencies: ["CPatchCore", "CVisit"], swiftSettings: strictness),
    // Compares live text with the files that it came from.
    .target(
      name: "Audit", dependencies: ["LivePatching", "TextFormat", "Units"],
      swiftSettings: strictness),
    .target(
      name: "UnloadLab",
      dependencies: [
        "Audit", "CallSites", "LivePatching", "MachineCode", "ProductFiles", "CPatchCore",
        "CUnloadLab", "TextFormat", "Units",
      ],
      swiftSettings: strictness),
    // The contents of a recording's text files, for the recorder and for the reader.
    .target(
      name: "RecordingSchema", dependencies: ["CRecordingABI", "JSONText", "Units"],
      swiftSettings: strictness),
    // Functions' names as people read them, for the recorder's rules and for what is shown.
    .target(name: "FunctionNames", dependencies: ["CDemangle"], swiftSettings: strictness),
    .target(name: "Filters", dependencies: ["CGlob", "FunctionNames"], swiftSettings: strictness),
    .target(
      name: "RecordingReader",
      dependencies: ["CRecordingABI", "FunctionNames", "RecordingSchema", "TextFormat", "Units"],
      swiftSettings: strictness),
    .target(
      name: "TraceAnalysis",
      dependencies: [
        "CProcessors", "Filters", "FunctionNames", "RecordingReader", "TextFormat", "Units",
      ],
      swiftSettings: strictness),
    .target(
      name: "TraceExport",
      dependencies: [
        "RecordingReader", "RecordingSchema", "TextFormat", "TraceAnalysis", "Units",
      ],
      swiftSettings: strictness),
    .target(
      name: "Recorder",
      dependencies: [
        "CallSites", "ELFImage", "Filters", "FunctionNames", "MachineCode", "ProductFiles",
        "RecordingSchema", "CRecordingABI", "CRecorder", "CSourceLines", "TextFormat", "Units",
        "Visits",
      ],
      swiftSettings: strictness),
    .executableTarget(
      name: "nopscope",
      dependencies: [
        "Visits",
        "Audit", "CRecorder", "CallSites", "CommandOutput", "Filters", "FunctionNames",
        "LivePatching", "MachineCode", "Recorder", "RecordingReader", "RecordingSchema",
        "TextFormat", "TraceAnalysis", "TraceExport", "Units", "UnloadLab",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      swiftSettings: strictness, linkerSettings: executableLink),

    // The rigs that measure nopscope and put it under load. They are no part of the product.
    .target(
      name: "PatchBench",
      dependencies: [
        "CallSites", "ELFImage", "LivePatching", "MachineCode", "CMachineCode", "CPatchCore",
        "CUnloadLab", "Units",
      ],
      path: "Sources/nopscope-bench/PatchBench", swiftSettings: strictness),
    // The soak's threads, forks and counting entries.
    .target(
      name: "CSoak", path: "Sources/nopscope-bench/CSoak",
      cSettings: [warnings, .unsafeFlags(["-O2"])]),
    .target(
      name: "Soak",
      dependencies: [
        "Audit", "CallSites", "CPatchCore", "CSoak", "LivePatching", "MachineCode",
        "RecordingReader", "TraceAnalysis", "Units",
      ],
      path: "Sources/nopscope-bench/Soak", swiftSettings: strictness),
    .executableTarget(
      name: "nopscope-bench",
      dependencies: [
        "CommandOutput", "PatchBench", "Soak", "TextFormat",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
      ],
      path: "Sources/nopscope-bench/Command", swiftSettings: strictness,
      linkerSettings: executableLink),

    // Tests mirror the sources.
    .target(
      name: "TestSupport", dependencies: ["CRecordingABI", "Units"], path: "Tests/TestSupport",
      swiftSettings: strictness),
    .target(
      name: "CTestSupport", dependencies: ["CPatchCore", "CRecordingABI"],
      path: "Tests/CTestSupport",
      cSettings: [warnings]),
    .testTarget(name: "UnitsTests", dependencies: ["Units", "TestSupport"]),
    .testTarget(
      name: "ELFImageTests", dependencies: ["CDebugFiles", "ELFImage", "TestSupport", "Units"]),
    .testTarget(
      name: "MachineCodeTests",
      dependencies: ["MachineCode", "CInstructionKinds", "CMachineCode", "TestSupport", "Units"]),
    .testTarget(name: "ProductFilesTests", dependencies: ["ProductFiles"]),
    .testTarget(
      name: "CallSitesTests", dependencies: ["CallSites", "ELFImage", "MachineCode", "TestSupport"]),
    .testTarget(
      name: "LivePatchingTests",
      dependencies: [
        "LivePatching", "CallSites", "MachineCode", "CMachineCode", "CPatchCore", "CTestSupport",
        "PatchBench", "TestSupport", "TextFormat", "Units",
      ]),
    .testTarget(
      name: "AuditTests",
      dependencies: ["Audit", "LivePatching", "MachineCode", "TestSupport", "Units"]),
    .testTarget(
      name: "UnloadLabTests",
      dependencies: [
        "UnloadLab", "CTestSupport", "CUnloadLab", "CPatchCore", "MachineCode", "TestSupport",
        "Units",
      ]),
    .testTarget(
      name: "RecordingSchemaTests", dependencies: ["RecordingSchema", "TestSupport", "Units"]),
    .testTarget(
      name: "RecordingReaderTests",
      dependencies: ["RecordingReader", "RecordingSchema", "CRecordingABI", "TestSupport", "Units"]),
    .testTarget(
      name: "TraceAnalysisTests",
      dependencies: [
        "Filters", "TraceAnalysis", "RecordingReader", "CRecordingABI", "TestSupport",
      ]),
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
        "Recorder", "RecordingSchema", "CRecorder", "CPatchCore", "CRecordingABI", "CSourceLines",
        "CTestSupport",
        "Filters",
        "CallSites", "ELFImage", "MachineCode", "TestSupport", "TextFormat", "Units",
      ]),
    .testTarget(name: "FunctionNamesTests", dependencies: ["FunctionNames", "TestSupport"]),
    .testTarget(name: "FiltersTests", dependencies: ["Filters", "FunctionNames", "TestSupport"]),
    .testTarget(name: "TextFormatTests", dependencies: ["TextFormat"]),
    .testTarget(name: "JSONTextTests", dependencies: ["JSONText"]),
    .testTarget(name: "CommandOutputTests", dependencies: ["CommandOutput"]),
    .testTarget(name: "NopscopeTests", dependencies: ["ELFImage", "TestSupport"]),
    .testTarget(name: "BenchTests", dependencies: ["PatchBench", "TestSupport"]),
    // The code that the fuzzers run, and the tests that run it on the corpora.
    .target(
      name: "FuzzEntries",
      dependencies: [
        "CallSites", "ELFImage", "Filters", "MachineCode", "RecordingReader", "TraceAnalysis",
        "TraceExport", "Recorder", "Units",
      ],
      path: "Tests/Fuzzing/Entries", swiftSettings: strictness),
    .testTarget(
      name: "FuzzingTests", dependencies: ["CRecordingABI", "FuzzEntries", "TestSupport"],
      path: "Tests/Fuzzing/Replay"),
  ]
)

// Only scripts/fuzz builds the fuzzers: they link only with --sanitize=fuzzer.
if Context.environment["NOPSCOPE_FUZZ_BUILD"] != nil {
  package.targets += [
    .systemLibrary(name: "CLibFuzzer", path: "Tests/Fuzzing/CLibFuzzer"),
    .executableTarget(
      name: "nopscope-fuzz", dependencies: ["CLibFuzzer", "FuzzEntries"],
      path: "Tests/Fuzzing/Driver"),
  ]
}
