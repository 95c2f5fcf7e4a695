# SPDX-License-Identifier: Apache-2.0
"""usage: check_record.py ROOT NOPSCOPE SOURCES FOLDER [--quick] [PROGRAM]...

Records real programs and compares with what other tools count; `scripts/check-record` calls it and
explains what is compared. Writes a Markdown table, a row for each load of each build, and below it
what is not equal and what was left out. Exit status: 0 if all is equal, 1 if not, 125 if it could
not be compared."""

import concurrent.futures
import hashlib
import os
import shutil
import subprocess
import sys

import record_checks
from image_symbols import ImageSymbols
from record_programs import COMPILERS, LEVELS, PROGRAMS, VARIANTS, Build, BuildFailed
from record_runs import TRACERS, RunFailed, Runner

# Both compilers, both levels and all three ways to instrument, but only for C: C++ builds slowly.
QUICK = (("lua", "gcc", "-O2", "pg"), ("minigzip", "clang", "-O2", "fentry"),
         ("dash", "gcc", "-O0", "patchable"))

# How many differences of one run are shown: the rest is mostly the same.
MOST_SHOWN = 8

HEADER = """\
| program | build | run | functions | calls | as callgrind | exits | own clock | uftrace |
|---|---|---|---:|---:|---|---|---|---|"""


def chosen_builds(programs, is_quick):
    if is_quick:
        return [(programs[name], Build(name, *words)) for name, *words in QUICK
                if name in programs]
    builds = [(program, Build(name, compiler, level, variant))
              for name, program in programs.items() for compiler in COMPILERS
              for level in LEVELS for variant in VARIANTS]
    return [(program, build) for program, build in builds if build.name not in program.not_compared]


def not_compared(programs):
    """A line for each build that is not compared."""
    return [f"not compared: {program.name}, {name}: {why}"
            for program in programs.values() for name, why in program.not_compared.items()]


def fingerprint(own):
    """What the builds depend on beside the sources: these scripts and the compilers."""
    here = os.path.dirname(os.path.abspath(__file__))
    digest = hashlib.sha256()
    for file in (os.path.join(here, "record_programs.py"), os.path.join(here, "library_flags.py"),
                 os.path.join(own, "clock.c")):
        with open(file, "rb") as text:
            digest.update(text.read())
    for compiler in ("gcc", "clang"):
        digest.update(subprocess.run([compiler, "--version"], capture_output=True,
                                     check=True).stdout)
    return digest.hexdigest()


def forget_other_builds(folder, wanted):
    """Empties `folder` unless its builds are of this fingerprint."""
    mark = os.path.join(folder, "fingerprint")
    if os.path.exists(mark):
        with open(mark) as file:
            if file.read() == wanted:
                return
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    with open(mark, "w") as file:
        file.write(wanted)


def build_all(builds):
    """Builds side by side; ends the script where one fails."""
    for program in {id(program): program for program, _ in builds}.values():
        program.prepare()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for done in [pool.submit(program.build, build) for program, build in builds]:
            done.result()


def check(runner, program, build, load, symbols):
    """One row, and the lines that say what is wrong or left out."""
    counts, expected = runner.callgrind(program, build, load)
    row = record_checks.Row(program, build, load)
    for tracer in TRACERS:
        recording, outcome = runner.record(program, build, load, tracer)
        try:
            record_checks.compare_output(row, tracer, outcome, expected)
            record_checks.compare_calls(row, tracer, recording, counts, symbols)
            if tracer == "function_graph":
                balance, inherited = record_checks.compare_exits(row, recording)
                record_checks.compare_clock(row, recording, outcome)
                record_checks.compare_uftrace(row, recording, balance, inherited,
                                              symbols)
        finally:
            recording.remove()
    return row


def check_all(runner, builds, nopscope):
    rows = []
    print(HEADER, flush=True)
    for program, build in builds:
        symbols = ImageSymbols(program.path(build), nopscope)
        for load in program.loads():
            rows.append(check(runner, program, build, load, symbols))
            print(rows[-1].text(), flush=True)
    return rows


def write_notes(rows, notes):
    """What is wrong, and once for all builds what was left out."""
    for row in rows:
        for line in row.wrong[:MOST_SHOWN]:
            print(f"\nNOT EQUAL: {row.title()}: {line}")
        if len(row.wrong) > MOST_SHOWN:
            print(f"\nNOT EQUAL: {row.title()}: and {len(row.wrong) - MOST_SHOWN} more")
    for line in dict.fromkeys([line for row in rows for line in row.left_out] + notes):
        print(f"\n- {line}")
    wrong = sum(1 for row in rows if row.wrong)
    print(f"\n{len(rows)} runs, {sum(row.calls for row in rows):,} calls in each of "
          f"{len(TRACERS)} tracers: " + ("all equal" if not wrong else f"{wrong} not equal"))
    return 1 if wrong else 0


def main(words):
    root, nopscope, sources, folder, *rest = words
    folder = os.path.realpath(folder)
    is_quick = "--quick" in rest
    names = [word for word in rest if word != "--quick"]
    own = os.path.join(root, "scripts", "record-load")
    programs = {name: PROGRAMS[name](sources, own, folder) for name in names}
    forget_other_builds(folder, fingerprint(own))
    runs = os.path.join(folder, "runs")
    shutil.rmtree(runs, ignore_errors=True)
    os.makedirs(runs)
    try:
        no_gprof = os.path.join(folder, "no_gprof.so")
        subprocess.run(["gcc", "-O2", "-fPIC", "-shared", "-o", no_gprof,
                        os.path.join(root, "scripts", "bench-load", "no_gprof.c")], check=True)
        builds = chosen_builds(programs, is_quick)
        build_all(builds)
        rows = check_all(Runner(nopscope, no_gprof, runs), builds, nopscope)
        return write_notes(rows, [] if is_quick else not_compared(programs))
    except (BuildFailed, RunFailed, subprocess.CalledProcessError) as error:
        print(f"check-record: {error}", file=sys.stderr)
        return 125
    finally:
        shutil.rmtree(runs, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
