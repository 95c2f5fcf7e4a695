# SPDX-License-Identifier: Apache-2.0
"""Measures how fast the commands read a recording, as Markdown.

usage: bench_read.py ROOT NOPSCOPE [--millions N] [--repeat N]

Records a program of two threads that makes N million calls (100), and a tenth of it for the exports whose
files are largest. Each command reads it, `--repeat` times (3); the median counts. Recordings go to a
temporary folder (TMPDIR) that is removed: 5 GB for 100 million calls.
Exit status: 0 measured, whether the goal is met or not; 1 not measured."""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time

from bench_goals import machine, number

GOAL = 150  # million calls a minute
WHOLE, PART = "whole", "part"

# What reads, and how much: chrome and speedscope write about 100 and 50 bytes a call.
READINGS = (
    ("report", WHOLE, ["report", "{data}"]),
    ("report FUNCTION", WHOLE, ["report", "{data}", "step"]),
    ("graph", WHOLE, ["graph", "{data}"]),
    ("graph --depth 1", WHOLE, ["graph", "--depth", "1", "{data}"]),
    ("slow FUNCTION", WHOLE, ["slow", "step", "{data}"]),
    ("export, folded", WHOLE, ["export", "--format", "folded", "-o", "{out}", "{data}"]),
    ("export, flamegraph", WHOLE, ["export", "--format", "flamegraph", "-o", "{out}", "{data}"]),
    ("export, perfetto", PART, ["export", "--format", "perfetto", "-o", "{out}", "{data}"]),
    ("export, chrome", PART, ["export", "--format", "chrome", "-o", "{out}", "{data}"]),
    ("export, speedscope", PART, ["export", "--format", "speedscope", "-o", "{out}", "{data}"]),
    ("replay", PART, ["replay", "{data}"]),
)


class Reading:
    def __init__(self, root, nopscope, folder, repeat):
        self.nopscope, self.folder, self.repeat = nopscope, folder, repeat
        self.program = os.path.join(folder, "many_calls")
        source = os.path.join(root, "scripts", "bench-load", "many_calls.c")
        subprocess.run(["gcc", "-O2", "-pg", "-pthread", source, "-o", self.program], check=True)

    def record(self, name, millions):
        data = os.path.join(self.folder, name)
        subprocess.run([self.nopscope, "record", "-q", "-o", data, self.program, str(millions)],
                       check=True)
        return data

    def measure(self, words):
        """Median seconds, those of CPU time, and the most memory in MiB that a run had."""
        times, used, most = [], [], 0
        for _ in range(self.repeat):
            begin = time.monotonic()
            process = subprocess.Popen([self.nopscope, *words], stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            _, status, usage = os.wait4(process.pid, 0)
            times.append(time.monotonic() - begin)
            used.append(usage.ru_utime + usage.ru_stime)
            most = max(most, usage.ru_maxrss / 1024)
            if status != 0:
                raise SystemExit(f"bench_read: {' '.join(words)}: ended with status {status}")
        return statistics.median(times), statistics.median(used), most


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("nopscope")
    parser.add_argument("--millions", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    given = parser.parse_args()
    before = os.getloadavg()
    millions = {WHOLE: given.millions, PART: max(1, given.millions // 10)}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        reading = Reading(given.root, given.nopscope, folder, given.repeat)
        data = {size: reading.record(size, count) for size, count in millions.items()}
        out = os.path.join(folder, "out")
        for name, size, words in READINGS:
            print(f"bench_read: {name}", file=sys.stderr)
            words = [word.format(data=data[size], out=out) for word in words]
            seconds, used, memory = reading.measure(words)
            written = os.path.getsize(out) / 1e6 if out in words else None
            rows.append((name, millions[size], seconds, used, 60 * millions[size] / seconds, memory, written))
    load = (before[0], os.getloadavg()[0])
    print(machine(load, f"the median of {given.repeat} runs"))
    print("\n| command | million calls | seconds | seconds of CPU | million calls a minute | goal | MiB of memory | MB written |")
    print("|---|---:|---:|---:|---:|---|---:|---:|")
    for name, count, seconds, used, rate, memory, written in rows:
        met = f"≥ {GOAL}: " + ("met" if rate >= GOAL else "not met")
        print(f"| {name} | {count} | {number(seconds)} | {number(used)} | {number(rate, 0)} | {met} | "
              f"{number(memory, 0)} | {number(written, 0)} |")


if __name__ == "__main__":
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        main()
    except subprocess.CalledProcessError as failed:
        sys.exit(f"bench_read: {failed}")
