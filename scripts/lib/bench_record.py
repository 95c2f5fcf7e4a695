# SPDX-License-Identifier: Apache-2.0
"""Measures recording against its peers, all in one run, and writes Markdown to stdout.

usage: bench_record.py ROOT NOPSCOPE SOURCES [--repeat N] [--quick]

ROOT is the package's folder, NOPSCOPE the command to measure, SOURCES holds the unpacked sources of
lua5.4 and zlib. Programs and recordings go to a temporary folder (TMPDIR) that is removed.
Exit status: 0 measured, whether goals are met or not; 1 not measured."""

import argparse
import os
import statistics
import sys
import tempfile

import bench_dlopen
import bench_goals
import bench_runs as runs
from bench_loads import BuildFailed, Loads

# Arguments of each load, the rounds last or last but one: see scripts/bench-load.
FULL = {"tiny": [1000000, 10], "fib": [32, 2], "lua": ["bench.lua", 2], "compress": [1, 5]}
QUICK = {"tiny": [100000, 5], "fib": [25, 2], "lua": ["bench.lua", 1], "compress": [1, 1]}
ROUNDS_AT = {"tiny": 1, "fib": 1, "lua": 1, "compress": 1}

WAYS = ([runs.PLAIN, runs.CLANG, runs.GPROF, runs.UFTRACE, runs.XRAY]
        + [runs.nopscope_way(tracer) for tracer in runs.TRACERS]
        + [runs.nopped_way(), runs.nopped_way("fentry")])
# The compiler's other form, measured only on the smallest function: the rest of the work is the
# same.
FENTRY = [runs.nopscope_way(tracer, "fentry") for tracer in runs.TRACERS]


def say(text):
    print(f"bench record: {text}", file=sys.stderr, flush=True)


class Measurements:
    """The best of all repetitions. `cell[load, way]` holds the least of each figure; `failed` why
    there is none; `calls[load]` the instrumented calls of a round."""

    def __init__(self, runner, arguments, repeat):
        self.runner, self.repeat = runner, repeat
        self.arguments = dict(arguments)
        script = os.path.join(runner.loads.own, "bench.lua")
        self.arguments["lua"] = [script, *arguments["lua"][1:]]
        self.cell, self.failed, self.calls = {}, {}, {}

    def count_calls(self):
        """Calls of a round, by the exact counts of `hits`: the start of the program drops out of
        the difference between runs of one round and of two."""
        way = runs.nopscope_way("hits")
        for load, words in self.arguments.items():
            counts = []
            for rounds in (1, 2):
                changed = list(words)
                changed[ROUNDS_AT[load]] = rounds
                counts.append(self.runner.run(way, load, changed, self.runner.info)["recorded"])
            self.calls[load] = counts[1] - counts[0]

    def measure_all(self):
        for turn in range(self.repeat):
            for load in self.arguments:
                say(f"{load}, turn {turn + 1} of {self.repeat}")
                for way in WAYS + (FENTRY if load == "tiny" else []):
                    self.measure(load, way, self.arguments[load], turn == 0)

    def measure(self, load, way, words, with_info=False, key=None):
        key = key or (load, way.name)
        reason = self.runner.why_not(way) or self.failed.get(key)
        if reason:
            self.failed[key] = reason
            return
        then = self.runner.info if with_info and way.is_nopscope else None
        try:
            found = self.runner.run(way, load, words, then)
        except (runs.RunFailed, OSError) as error:
            say(f"{load}, {way.name}: {error}")
            self.failed[key] = str(error)
            return
        known = self.cell.setdefault(key, {})
        for name, value in found.items():
            known[name] = min(value, known.get(name, value))

    def per_call(self, load, way, figure="cpu"):
        """Nanoseconds of a call, all of the load's own work among it; None if not measured."""
        cell = self.cell.get((load, way.name))
        return cell[figure] / self.calls[load] if cell and figure in cell else None

    def above(self, load, way, figure="cpu"):
        """Nanoseconds that tracing adds to a call; None if not measured."""
        base = self.cell.get((load, runs.CLANG.name if way.base == "clang" else runs.PLAIN.name))
        own = self.per_call(load, way, figure)
        return None if own is None or not base else own - base[figure] / self.calls[load]

    def why(self, load, way):
        return self.failed.get((load, way.name), "not measured")

    def disk_per_call(self, load, way):
        """Bytes of all that a run of the load left, for each of its calls."""
        cell = self.cell.get((load, way.name))
        rounds = self.arguments[load][ROUNDS_AT[load]]
        return cell["bytes"] / (self.calls[load] * rounds) if cell else None


def measure_threads(results):
    """Calls and CPU time with 1 and 8 threads, plain and traced, as `(load, way, threads)`."""
    graph = runs.nopscope_way("function_graph")
    tiny_calls, rounds = results.arguments["tiny"][:2]
    words = {"tiny": lambda n: [max(tiny_calls // 4, 1), rounds // 2, n],
             "compress": lambda n: [n, results.arguments["compress"][1]]}
    for _ in range(results.repeat):
        for load, arguments in words.items():
            say(f"{load} with 1 and 8 threads")
            for threads in (1, 8):
                for way in (runs.PLAIN, graph, runs.UFTRACE):
                    results.measure(load, way, arguments(threads),
                                    key=(load, way.name, threads))
    for threads in (1, 8):
        results.calls["tiny", threads] = threads * max(tiny_calls // 4, 1)
        results.calls["compress", threads] = threads * results.calls["compress"]


def measure_start(results, count):
    """Median wall time, in nanoseconds, of a program that does nothing, in each way."""
    ways = [runs.PLAIN, runs.nopscope_way("function_graph"), runs.nopped_way(), runs.UFTRACE,
            runs.XRAY]
    taken = {way.name: [] for way in ways if results.runner.why_not(way) is None}
    say(f"start-up, {count} runs of each")
    for _ in range(count):
        for way in ways:
            if way.name in taken:
                taken[way.name].append(results.runner.run(way, "trivial", [])["wall"])
    return {name: (statistics.median(times), min(times)) for name, times in taken.items()}


def measure_report(results, count):
    """Of `nopscope report`: the times over one recording of fib, in nanoseconds, and the peak
    memory in KiB over recordings of two lengths, by calls."""
    runner, graph = results.runner, runs.nopscope_way("function_graph")
    depth = results.arguments["fib"][0]

    def report(directory):
        where = os.path.dirname(directory)
        rows = [runner.measured([runner.nopscope, "report", directory], where)[1]
                for _ in range(count)]
        return {"times": [row["wall"] for row in rows], "peak": min(row["peak"] for row in rows)}

    say("nopscope report")
    times = runner.run(graph, "fib", [depth, 1], report)["times"]
    tiny = results.arguments["tiny"][0]
    peaks = {calls: runner.run(graph, "tiny", [calls, 1], report)["peak"]
             for calls in (tiny, tiny * 10)}
    return {"calls": results.calls["fib"], "times": times, "peaks": peaks}


def measure_instructions(results):
    """Instructions that the program executes itself, instrumented over plain, by load and kind; a
    text where they cannot be counted. A nop is one instruction, like the call that it replaces."""
    ratios = {}
    words = {"fib": [22, 1], "lua": [results.arguments["lua"][0], 1]}
    loads = results.runner.loads

    def count(load, kind):
        with tempfile.TemporaryDirectory(dir=results.runner.folder) as where:
            return runs.own_instructions([loads.path(load, kind), *map(str, words[load])], where,
                                         loads.path("no_gprof", "so"))

    for load in words:
        say(f"instructions of {load}")
        for kind in ("pg", "fentry"):
            try:
                ratios[load, kind] = count(load, kind) / count(load, "plain")
            except (runs.RunFailed, OSError, ZeroDivisionError) as error:
                ratios[load, kind] = str(error)
    return ratios


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench record", allow_abbrev=False)
    for name in ("root", "nopscope", "sources"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    parser.add_argument("--repeat", type=int, default=3, help="turns; the best of them counts")
    parser.add_argument("--quick", action="store_true", help="far less work: to try the bench only")
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="nopscope-bench-") as folder:
        loads = Loads(options.root, options.sources, folder)
        say("building the loads")
        loads.build_all()
        runner = runs.Runner(options.nopscope, loads, folder)
        results = Measurements(runner, QUICK if options.quick else FULL, max(options.repeat, 1))
        results.count_calls()
        results.measure_all()
        measure_threads(results)
        start = measure_start(results, 5 if options.quick else 30)
        report = measure_report(results, 3 if options.quick else 5)
        instructions = measure_instructions(results)
        say("dlopen")
        dlopen = bench_dlopen.DlopenBench(options.root, options.nopscope, folder, loads.run)
        loading = dlopen.measure(max(options.repeat, 1))
    print(bench_goals.markdown(results, start, report, instructions, loading,
                               (load_before, os.getloadavg()[0])))


if __name__ == "__main__":
    try:
        main()
    except (BuildFailed, runs.RunFailed, RuntimeError) as failure:
        say(failure)
        sys.exit(1)
