# SPDX-License-Identifier: Apache-2.0
"""Prints how long attaching to a process stops it, as a Markdown table, beside gdb.

usage: bench_attach.py NOPSCOPE [--repeat N]

Each row is a program that runs meanwhile; each figure is the median of N runs, in turn with gdb's. gdb
only attaches and detaches. Programs and recordings go to a temporary folder (TMPDIR) that is removed.
Exit status: 0 measured; 1 not measured."""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

from bench_goals import machine

WORK = """
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>
static void *work(void *a) { for (volatile long n = 0;; n++) f0((int)n); return a; }
int main(int count, char **words) {
  pthread_t one;
  for (int i = 0; i < atoi(words[count - 1]); i++) pthread_create(&one, 0, work, 0);
  for (;;) pause();
}
"""
# Flags, functions, threads.
ROWS = (("-pg -mfentry", 10, 0), ("-pg -mfentry", 10, 8), ("-pg", 10, 0), ("-pg", 10, 8),
        ("-pg -mfentry", 100000, 8), ("-pg", 100000, 8))
STOPS = re.compile(r"stopped for ([0-9.]+) ms at the beginning and ([0-9.]+) ms at the end")


def build(folder, flags, functions):
    path = os.path.join(folder, f"{flags.replace(' ', '')}{functions}")
    if not os.path.exists(path):
        with open(path + ".c", "w", encoding="utf-8") as file:
            for index in range(functions):
                file.write(f"__attribute__((noinline)) int f{index}(int a) {{ return a + {index}; }}\n")
            file.write(WORK)
        subprocess.run(["gcc", "-O1", *flags.split(), "-o", path, path + ".c", "-lpthread"], check=True)
    return path


def attach(nopscope, folder, pid):
    """Milliseconds stopped at the beginning and at the end, and of the whole command."""
    began = time.monotonic()
    done = subprocess.run([nopscope, "attach", str(pid), "--duration", "100ms", "--tracer", "hits",
                           "-o", os.path.join(folder, "data")], capture_output=True, text=True)
    spent = (time.monotonic() - began) * 1000 - 100
    found = STOPS.search(done.stderr)
    if done.returncode != 0 or found is None:
        sys.exit(f"nopscope attach: status {done.returncode}: {done.stderr}")
    return float(found[1]), float(found[2]), spent


def gdb(pid):
    """Milliseconds of gdb's attaching and detaching."""
    began = time.monotonic()
    subprocess.run(["gdb", "-q", "-batch", "-nx", "-p", str(pid), "-ex", "detach"],
                   capture_output=True, check=True)
    return (time.monotonic() - began) * 1000


def measure(nopscope, folder, row, repeat):
    flags, functions, threads = row
    program = subprocess.Popen([build(folder, flags, functions), str(threads)])
    time.sleep(0.3)
    try:
        attach(nopscope, folder, program.pid)  # the file's sites are in the cache then
        runs = [(*attach(nopscope, folder, program.pid), gdb(program.pid)) for _ in range(repeat)]
    finally:
        program.kill()
        program.wait()
    medians = [statistics.median(column) for column in zip(*runs)]
    print(f"| {flags} | {functions:,} | {threads or 'asleep'} | "
          + " | ".join(f"{value:.2f}" for value in medians) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("nopscope")
    parser.add_argument("--repeat", type=int, default=15)
    arguments = parser.parse_args()
    before = os.getloadavg()
    print("| compiled with | functions | busy threads | stopped at the beginning | at the end "
          "| nopscope attach but for its 100 ms | gdb attach and detach |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for row in ROWS:
            measure(arguments.nopscope, folder, row, arguments.repeat)
    how = f"medians of {arguments.repeat} runs, milliseconds"
    print("\n" + machine((before[0], os.getloadavg()[0]), how))


if __name__ == "__main__":
    main()
