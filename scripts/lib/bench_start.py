# SPDX-License-Identifier: Apache-2.0
"""Prints where a start's milliseconds and the executable's bytes go, as Markdown.

usage: bench_start.py ROOT NOPSCOPE MAP [--repeat N]

ROOT is the package's folder, NOPSCOPE the command to measure, MAP the linker's map of it. Programs
and recordings go to a temporary folder (TMPDIR) that is removed.
Exit status: 0 measured; 1 not measured."""

import argparse
import os
import statistics
import struct
import subprocess
import sys
import tempfile

import bench_runs as runs
import executable_size
from bench_goals import machine, number
from bench_loads import COMMON, KINDS, BuildFailed, Loads

# What each time is, and the marks of scripts/bench-load/start_marks.c at its beginning and end. The
# command's own start and end have no mark.
START, END = "start", "end"
PHASES = (
    ("`nopscope` itself: exec and loader", START, 0),
    ("the Swift runtime's start, options", 0, 1),
    ("the program looked at, folder and socket made", 1, 2),
    ("posix_spawn", 2, 3),
    ("the program's exec and loader, until the agent connects", 3, 4),
    ("the agent joins, plans and patches", 4, 8),
    ("the program itself", 8, 9),
    ("its end, until `nopscope` knows it", 9, 5),
    ("what is left is settled, last session.json", 5, 6),
    ("summary, until exit", 6, 7),
    ("exit", 7, END),
    ("all", START, END),
)
MARKS = 16
PROGRAM = "trivial"


class StartBench:
    """Runs the program that does nothing, plain and recorded, by turns."""

    def __init__(self, root, nopscope, folder):
        self.loads = Loads(root, "", folder)
        self.nopscope, self.folder = nopscope, folder
        own = os.path.join(root, "scripts", "bench-load")
        self.marker = os.path.join(folder, "start_marks.so")
        self.loads.run(["gcc", "-O2", "-shared", "-fPIC", os.path.join(own, "start_marks.c"),
                        "-o", self.marker, "-ldl"])
        self.loads.run(["gcc", "-O2", os.path.join(own, "measure.c"),
                        "-o", self.loads.path("measure", "plain")])
        for kind in ("plain", "pg"):
            compiler, flags = KINDS[kind]
            self.loads.run([compiler, *COMMON, *flags, os.path.join(own, PROGRAM + ".c"),
                            "-o", self.loads.path(PROGRAM, kind)])
        self.runner = runs.Runner(nopscope, self.loads, folder)

    def phases(self):
        """Milliseconds of each phase in one run."""
        program = os.path.realpath(self.loads.path(PROGRAM, "pg"))
        with tempfile.TemporaryDirectory(dir=self.folder) as where:
            file = os.path.join(where, "marks")
            with open(file, "wb") as marks:
                marks.write(bytes(8 * MARKS))
            command = ["env", "LD_PRELOAD=" + self.marker, "MARKS_FILE=" + file,
                       "MARKS_RECORDER=" + os.path.realpath(self.nopscope),
                       "MARKS_PROGRAM=" + program, self.loads.path("measure", "plain"),
                       os.path.join(where, "measured"), self.nopscope, "record", "-o", "out", "--",
                       program]
            done = subprocess.run(command, cwd=where, stdin=subprocess.DEVNULL, timeout=60,
                                  capture_output=True, text=True)
            with open(file, "rb") as marks:
                found = list(struct.unpack(f"={MARKS}Q", marks.read()))
            with open(os.path.join(where, "measured")) as text:
                words = text.read().split()
        start = int(words[words.index("start") + 1])
        end = start + int(words[words.index("wall") + 1])
        if done.returncode != 0 or 0 in found[:10]:
            raise runs.RunFailed(f"a start was not measured: status {done.returncode}, marks "
                                 f"{found[:10]}: {done.stderr.strip()}")
        times = {START: start, END: end, **dict(enumerate(found))}
        return [(times[last] - times[first]) / 1e6 for _, first, last in PHASES]

    def measure(self, count):
        """Of each way its wall times, and of each phase its times, in milliseconds."""
        ways = [runs.PLAIN, runs.nopscope_way("function_graph"),
                runs.Way("nopscope, through the argument parser", "pg",
                         ["nopscope", "record", "--output=out", "--"])]
        walls = {way.name: [] for way in ways}
        phases = []
        for _ in range(count):
            for way in ways:
                walls[way.name].append(self.runner.run(way, PROGRAM, [])["wall"] / 1e6)
            phases.append(self.phases())
        return walls, list(zip(*phases))


def start_tables(walls, phases):
    lines = ["| a program that does nothing | median ms | least ms | median over plain |",
             "|---|---:|---:|---:|"]
    plain = statistics.median(walls[runs.PLAIN.name])
    for name, times in walls.items():
        median = statistics.median(times)
        lines.append(f"| {name} | {number(median, 2)} | {number(min(times), 2)} | "
                     f"{number(median - plain, 2)} |")
    lines += ["", "| a recorded start | median ms | least ms |", "|---|---:|---:|"]
    for (name, _, _), times in zip(PHASES, phases):
        lines.append(f"| {name} | {number(statistics.median(times), 2)} | "
                     f"{number(min(times), 2)} |")
    return lines


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench start", allow_abbrev=False)
    for name in ("root", "nopscope", "map"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--repeat", type=int, default=50, help="runs of each; medians are printed")
    options = parser.parse_args()
    count = max(options.repeat, 1)
    os.sync()  # a recording makes files: not while the file system writes what was just built
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="nopscope-bench-") as folder:
        walls, phases = StartBench(options.root, options.nopscope, folder).measure(count)
    print(machine((load_before, os.getloadavg()[0]), f"{count} runs"))
    print("\n".join(["", *start_tables(walls, phases), "",
                     *executable_size.table(options.nopscope, options.map)]))


if __name__ == "__main__":
    try:
        main()
    except (BuildFailed, runs.RunFailed, OSError) as failure:
        print(f"bench start: {failure}", file=sys.stderr)
        sys.exit(1)
