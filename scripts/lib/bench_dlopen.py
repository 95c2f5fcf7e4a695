# SPDX-License-Identifier: Apache-2.0
"""What recording adds to dlopen: libraries of 1,000 call sites each, loaded one after the other.

usage: bench_dlopen.py ROOT NOPSCOPE

By itself it prints its two rows; `bench_record.py` has them among its goals."""

import os
import re
import statistics
import subprocess
import sys
import tempfile

SITES, LIBRARIES, LIMIT_SECONDS = 1000, 21, 120
GOALS = {"first": 2.0, "seen": 1.0}  # milliseconds above plain
WORDS = {"first": "a build-id at first sight", "seen": "a build-id seen before"}


class DlopenBench:
    """Builds in `folder`; `build` runs a compiler's command and raises if it fails."""

    def __init__(self, root, nopscope, folder, build):
        self.own = os.path.join(root, "scripts", "bench-load")
        self.nopscope, self.folder = nopscope, tempfile.mkdtemp(prefix="dlopen-", dir=folder)
        self.program = os.path.join(self.folder, "program")
        self.libraries = [os.path.join(self.folder, f"library-{i}.so") for i in range(LIBRARIES)]
        build(["gcc", "-O2", os.path.join(self.own, "dlopen.c"), "-o", self.program, "-ldl"])
        source, unit = (os.path.join(self.folder, "library" + end) for end in (".c", ".o"))
        with open(source, "w") as file:
            file.writelines(f"int function_{i}(int x) {{ return x * {i} + 1; }}\n"
                            for i in range(SITES))
        build(["gcc", "-O1", "-pg", "-fPIC", "-fno-omit-frame-pointer", "-c", source, "-o", unit])
        for i, library in enumerate(self.libraries):
            build(["gcc", "-shared", unit, f"-Wl,--build-id=0x{i + 1:040x}", "-o", library])

    def _times(self, words, cache):
        done = subprocess.run([*words, self.program, *self.libraries], cwd=self.folder, text=True,
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT_SECONDS,
                              env={**os.environ, "XDG_CACHE_HOME": cache})
        times = [float(text) for text in re.findall(r"dlopen (\d+)", done.stdout)]
        if done.returncode != 0 or len(times) != LIBRARIES:
            raise RuntimeError(f"dlopen: status {done.returncode}: {done.stderr.strip()[-200:]}")
        return statistics.median(times) / 1e6

    def measure(self, repeat):
        """Milliseconds above plain: the median of `repeat` differences of medians of 21 loads."""
        found = {"plain": [], "first": [], "seen": []}
        for _ in range(repeat):
            with tempfile.TemporaryDirectory(dir=self.folder) as where:
                record = [self.nopscope, "record", "-o", os.path.join(where, "out"), "--"]
                again = [self.nopscope, "record", "-o", os.path.join(where, "again"), "--"]
                cache = os.path.join(where, "cache")
                plain = self._times([], cache)
                found["plain"].append(plain)
                found["first"].append(self._times(record, cache) - plain)
                found["seen"].append(self._times(again, cache) - plain)
        return {name: statistics.median(values) for name, values in found.items()}


def add_rows(goals, found):
    """`goals`: has `row`, as bench_goals has it."""
    for name, goal in GOALS.items():
        goals.row(f"dlopen above plain ({found['plain']:.2f} ms), {SITES:,} sites, {WORDS[name]}",
                  f"{goal:g} ms", goal, found[name], " ms", 2)


def main():
    import bench_goals
    goals = bench_goals.Goals(None, None, None, None, None)
    with tempfile.TemporaryDirectory(prefix="nopscope-bench-") as folder:
        bench = DlopenBench(sys.argv[1], sys.argv[2], folder,
                            lambda words: subprocess.run(words, check=True))
        add_rows(goals, bench.measure(5))
    print("\n".join(goals.rows))


if __name__ == "__main__":
    main()
