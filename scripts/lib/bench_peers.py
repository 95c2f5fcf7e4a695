# SPDX-License-Identifier: Apache-2.0
"""Does the jobs of docs/comparison.md with uftrace and nopscope, and writes Markdown to stdout.

usage: bench_peers.py ROOT NOPSCOPE [--repeat N]

ROOT is the package's folder, NOPSCOPE the command to measure. Programs and recordings go to a
temporary folder (TMPDIR) that is removed.
Exit status: 0 measured, whoever is right; 1 not measured."""

import argparse
import csv
import os
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from bench_goals import machine

LIMIT_SECONDS = 120
# For programs that take less than a second.
SHORT_SECONDS = 20
# By default uftrace records calls of libraries' functions too. Without them it records the calls
# that nopscope records, so the costs are compared with the second.
UFTRACE, WITHOUT_LIBRARIES, NOPSCOPE = "uftrace record", "uftrace record --no-libcall", "nopscope"
TOOLS = (UFTRACE, WITHOUT_LIBRARIES, NOPSCOPE)
WORDS = 200000


def say(text):
    print(f"bench peers: {text}", file=sys.stderr, flush=True)


class Bench:
    """Builds the programs into `folder`, where recordings go too. `tools` are run by turns."""

    def __init__(self, root, nopscope, folder, repeat):
        self.root, self.nopscope, self.folder, self.repeat = root, nopscope, folder, repeat

    def run(self, words, wanted=0, output=None, limit=LIMIT_SECONDS):
        """Milliseconds of CPU time, of the command and of all processes that it started. Its stdout
        goes to `output`, a file's name. `self.wall` has the milliseconds that passed."""
        where = os.path.join(self.folder, output) if output else os.devnull
        with open(where, "wb") as file:
            start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
            child = subprocess.Popen(words, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=file,
                                     stderr=subprocess.PIPE, start_new_session=True)
            try:
                message = child.communicate(timeout=limit)[1]
            except subprocess.TimeoutExpired:
                # The tracer's process group: the program is in it.
                os.killpg(child.pid, signal.SIGKILL)
                child.communicate()
                raise
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            self.wall = (time.monotonic() - start) * 1e3
        taken = (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e3
        self.status = child.returncode
        if wanted is not None and self.status != wanted:
            last = message.decode(errors="replace").strip().splitlines()[-1:]
            raise OSError(f"{' '.join(words)}: status {self.status}: {last}")
        return taken

    def text(self, words):
        done = subprocess.run(words, cwd=self.folder, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, errors="replace", timeout=LIMIT_SECONDS)
        return done.stdout

    def build(self, source, name, *flags):
        compiler = "g++" if source.endswith(".cpp") else "gcc"
        self.run([compiler, "-O2", "-w", *flags, os.path.join(self.root, source), "-o", name])

    def build_all(self):
        for name in ("fib", "words"):
            source = {"fib": "scripts/bench-load/fib.c", "words": "docs/examples/wordcount.c"}[name]
            for suffix, flags in (("-plain", []), ("", ["-pg"])):
                self.build(source, name + suffix, "-fno-inline", "-fno-optimize-sibling-calls",
                           *flags)
        for source in ("slow.c", "stuck.c", "throws.cpp", "jumps.c", "fibers.c", "signals.c",
                       "loads.c"):
            self.build(f"scripts/peer-load/{source}", source.split(".")[0], "-pg", "-pthread")
        for name, flags in (("old.so", []), ("new.so", ["-DNEW"])):
            self.build("scripts/peer-load/plugin.c", name, "-pg", "-fPIC", "-shared", *flags)
        with open(os.path.join(self.folder, "text"), "w") as file:
            file.write(" ".join(f"w{i * i % 4999}" for i in range(WORDS)))

    def path(self, name):
        return os.path.join(self.folder, name)

    def record_words(self, tool, where):
        if tool == NOPSCOPE:
            return [self.nopscope, "record", "--quiet", "-o", where, "--"]
        return [*tool.split(), "-d", where]

    def record(self, tool, program, where, wanted=0, limit=LIMIT_SECONDS):
        """Milliseconds; the recording `where` is made anew."""
        shutil.rmtree(self.path(where), ignore_errors=True)
        return self.run([*self.record_words(tool, where), *program], wanted, limit=limit)

    def size(self, name):
        """Bytes of a file, or of all files in a folder."""
        if os.path.isfile(self.path(name)):
            return os.path.getsize(self.path(name))
        return sum(os.path.getsize(os.path.join(place, file))
                   for place, _, files in os.walk(self.path(name)) for file in files)

    def calls(self, tool, where):
        """Of each function, as the tool's report has them."""
        if tool != NOPSCOPE:
            rows = re.findall(r"^ +(?:[\d.]+ +\w+ +){2}(\d+)  (.+)$",
                              self.text(["uftrace", "report", "-d", where]), re.M)
        else:
            text = self.text([self.nopscope, "report", where, "--csv",
                              "--columns", "calls,function"])
            rows = list(csv.reader(text.splitlines()))[1:]
        found = {}
        for count, function in rows:
            found[function] = found.get(function, 0) + int(count)
        return found


def milliseconds(value):
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def size_text(count):
    return f"{count / 1e6:,.2f} MB" if count >= 1e5 else f"{count / 1e3:,.1f} kB"


# Name, uftrace's words, nopscope's words, and whether the size of what it writes counts. U and N
# are the recordings, V and M those of a second run, F a function.
JOBS = (
    ("where did the time go", "report -d U", "report N", False),
    ("one function", "report -d U -F F --avg-total", "report N F", False),
    ("call tree", "graph -d U", "graph N", False),
    ("every call in order", "replay -d U", "replay N", True),
    ("folded stacks", "dump --flame-graph -d U", "export N --format folded", True),
    ("Chrome's format", "dump --chrome -d U", "export N --format chrome", True),
    ("Perfetto's own format", None, "export N --format perfetto", True),
    ("two recordings compared", "report -d V --diff U", "diff N M", False),
)


def job_words(bench, tool, text, function):
    names = {"U": "u1", "V": "u2", "N": "n1", "M": "n2", "F": function}
    command = "uftrace" if tool == "uftrace" else bench.nopscope
    return [command] + [names.get(word, word) for word in text.split()]


def costs(bench, load, program, function):
    """A table of one program: recording, then each job on the recordings."""
    say(f"{load}: recording")
    record_rows = list(recording(bench, program))
    calls = sum(bench.calls(NOPSCOPE, "n1").values())
    print(f"| {load}, {calls:,} calls | uftrace | nopscope | uftrace / nopscope |")
    print("|---|---:|---:|---:|")
    for row in record_rows:
        print(row)
    theirs, ours = bench.size("u1"), bench.size("n1")
    print(f"| recording: bytes on disk, and for each call | {size_text(theirs)}, "
          f"{theirs / calls:.1f} | {size_text(ours)}, {ours / calls:.1f} | {theirs / ours:.1f} |")
    for job in JOBS:
        say(f"{load}: {job[0]}")
        for row in reading(bench, function, *job):
            print(row)
    print(flush=True)


def recording(bench, program):
    """Rows of what recording adds to the program's time. Leaves the recordings u1, u2, n1, n2."""
    plain, program = ([f"./{program[0]}{suffix}", *program[1:]] for suffix in ("-plain", ""))
    times = {name: [] for name in ("plain", WITHOUT_LIBRARIES, NOPSCOPE)}
    walls = {name: [] for name in times}
    for turn in range(max(bench.repeat, 2)):
        times["plain"].append(bench.run(plain))
        walls["plain"].append(bench.wall)
        for tool, letter in ((WITHOUT_LIBRARIES, "u"), (NOPSCOPE, "n")):
            times[tool].append(bench.record(tool, program, f"{letter}{turn % 2 + 1}"))
            walls[tool].append(bench.wall)
    for what, values in (("CPU ms", times), ("ms that passed", walls)):
        medians = {name: statistics.median(found) for name, found in values.items()}
        theirs, ours = (medians[tool] - medians["plain"]
                        for tool in (WITHOUT_LIBRARIES, NOPSCOPE))
        yield (f"| recording: {what} more than the {milliseconds(medians['plain'])} of the plain "
               f"program | {milliseconds(theirs)} | {milliseconds(ours)} | {theirs / ours:.1f} |")
    more = bench.record(UFTRACE, program, "u3") - statistics.median(times["plain"])
    yield (f"| recording, by default of uftrace also library calls: CPU ms more, bytes | "
           f"{milliseconds(more)}, {size_text(bench.size('u3'))} | - | - |")


def reading(bench, function, name, theirs, ours, has_size):
    """Rows of one job: its time, and what it writes if that is what it is for."""
    taken, written = {}, {}
    for _ in range(bench.repeat):
        for tool, text in (("uftrace", theirs), ("nopscope", ours)):
            if text is None:
                continue
            words = job_words(bench, tool, text, function)
            taken.setdefault(tool, []).append(bench.run(words, output="output"))
            written[tool] = bench.size("output")
    middle = {tool: statistics.median(values) for tool, values in taken.items()}
    yield row_of(f"{name}: CPU ms", middle, milliseconds)
    if has_size:
        yield row_of(f"{name}: written", written, size_text)


def row_of(name, values, text_of):
    if "uftrace" not in values:
        return f"| {name} | - | {text_of(values['nopscope'])} | - |"
    return (f"| {name} | {text_of(values['uftrace'])} | {text_of(values['nopscope'])} | "
            f"{values['uftrace'] / values['nopscope']:.1f} |")


# What runs, and how often its functions are called, by construction of scripts/peer-load.
COUNTED = (
    ("exceptions", ["./throws"], {"inner": 1000, "middle": 1000, "guarded": 1000}),
    ("longjmp", ["./jumps"], {"jump": 1000, "around": 1000, "protect": 1000}),
    ("coroutines (ucontext)", ["./fibers"], {"step": 2000, "yield": 2000, "body": 2}),
    ("signal handlers on a stack of their own", ["./signals"],
     {"on_tick": 1000, "count_tick": 1000}),
    ("two libraries loaded and unloaded in turn", ["./loads", "20", "-", "./old.so", "./new.so"],
     {"only_in_old": 200, "only_in_new": 200, "first": 200, "work": 400}),
    ("the same, by one path whose file changes", ["./loads", "20", "./link.so", "old.so", "new.so"],
     {"only_in_old": 200, "only_in_new": 200, "first": 200, "work": 400}),
)


def is_right(found, truth):
    return all(found.get(name, 0) == count for name, count in truth.items())


def counted(bench):
    """Whether each function's calls are right, in every turn; the last wrong answer if not."""
    print("| the program | called, in truth | " + " | ".join(TOOLS) + " |\n|---|---|---|---|---|")
    for name, program, truth in COUNTED:
        say(name)
        cells = [count_runs(bench, tool, program, truth) for tool in TOOLS]
        print(f"| {name} | {listed(truth)} | " + " | ".join(cells) + " |", flush=True)
    print()


def count_runs(bench, tool, program, truth):
    right, wrong, statuses = 0, None, set()
    for _ in range(bench.repeat):
        try:
            bench.record(tool, program, "r", wanted=None, limit=SHORT_SECONDS)
        except subprocess.TimeoutExpired:
            return f"not done after {SHORT_SECONDS} s"
        status = bench.status
        found = bench.calls(tool, "r")
        if not is_right(found, truth):
            wrong = {name: found.get(name, 0) for name, count in truth.items()
                     if found.get(name, 0) != count}
        if status != 0:
            statuses.add(status)
        right += is_right(found, truth) and status == 0
    cell = f"right in {right} of {bench.repeat} runs"
    if wrong:
        cell += "; " + listed(wrong)
    if statuses:
        cell += f"; the program ended with status {', '.join(map(str, sorted(statuses)))}"
    return cell


def listed(counts):
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def stuck(bench):
    """How many innermost calls each tool names, of two threads that wait for each other."""
    say("a deadlock")
    named = dict.fromkeys(TOOLS, 0)
    for _ in range(bench.repeat):
        for tool in TOOLS:
            shutil.rmtree(bench.path("r"), ignore_errors=True)
            words = bench.record_words(tool, "r")
            bench.run(["timeout", "-s", "INT", "1", *words, "./stuck"], wanted=None)
            if tool == NOPSCOPE:
                text = bench.text([bench.nopscope, "report", "r"]).partition("\n\n")[0]
            else:
                text = bench.text(["uftrace", "replay", "-d", "r"])
                text = text.partition("remaining functions")[2]
            named[tool] += text.count("take_second")
    print("| a deadlock of two threads, ended by Ctrl-C | " + " | ".join(TOOLS)
          + " |\n|---|---:|---:|---:|")
    print("| the innermost call of a thread is named | "
          + " | ".join(f"{count} of {2 * bench.repeat}" for count in named.values()) + " |\n",
          flush=True)


def slow(bench):
    """How many lines each way gives to find the one slow call of 20,000."""
    say("one slow call")
    bench.record(UFTRACE, ["./slow"], "u1")
    bench.record(NOPSCOPE, ["./slow"], "n1")
    shutil.rmtree(bench.path("n2"), ignore_errors=True)
    bench.run([bench.nopscope, "record", "--quiet", "--threshold", "15ms", "-o", "n2", "./slow"])
    rows = (
        ("`uftrace replay`", ["uftrace", "replay", "-d", "u1"]),
        ("`uftrace replay -t 15ms`", ["uftrace", "replay", "-d", "u1", "-t", "15ms"]),
        ("`nopscope replay`", [bench.nopscope, "replay", "n1"]),
        ("`nopscope record --threshold 15ms`, `nopscope replay`", [bench.nopscope, "replay", "n2"]),
        ("`nopscope replay --min 15ms`", [bench.nopscope, "replay", "--min", "15ms", "n1"]),
        ("`nopscope slow handle -n 1`", [bench.nopscope, "slow", "handle", "-n", "1", "n1"]),
        ("`nopscope report handle`", [bench.nopscope, "report", "n1", "handle"]),
    )
    print("| one slow call of 20,000 | lines | read_disk is among them |\n|---|---:|---|")
    for name, words in rows:
        text = bench.text(words)
        print(f"| {name} | {len(text.splitlines()):,} | {'yes' if 'read_disk' in text else 'no'} |")
    bench.run([bench.nopscope, "report", "n1", "--fail-if", "handle.max>10ms"], wanted=None)
    print(f"\n`nopscope report --fail-if 'handle.max>10ms'` ended with status {bench.status}.\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("nopscope")
    parser.add_argument("--repeat", type=int, default=5)
    given = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(given.root, given.nopscope, folder, given.repeat)
        try:
            bench.build_all()
            costs(bench, "fib(30)", ["fib", "30", "1"], "fib")
            costs(bench, "wordcount", ["words", "text"], "lookup")
            counted(bench)
            stuck(bench)
            slow(bench)
        except (OSError, subprocess.TimeoutExpired) as error:
            say(f"{error}")
            sys.exit(1)
    theirs, own = (subprocess.run([command, "--version"], capture_output=True, text=True).stdout
                   for command in ("uftrace", given.nopscope))
    print(f"uftrace {theirs.split()[1]}, nopscope {own.split()[-1]}; medians of {given.repeat} "
          "turns; " + machine((before, os.getloadavg()[0]),
                              "CPU time of whole commands, with all their processes"))


if __name__ == "__main__":
    main()
