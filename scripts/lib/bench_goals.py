# SPDX-License-Identifier: Apache-2.0
"""The tables of `scripts/bench record`: what was measured, and which goals it meets."""

import os
import statistics

import bench_dlopen
import bench_runs as runs

LOADS = ("tiny", "fib", "lua", "compress")
GRAPH = runs.nopscope_way("function_graph")


def number(value, digits=1):
    return "-" if value is None else f"{value:,.{digits}f}"


def markdown(results, start, report, instructions, loading, load):
    """All tables, with what they were measured on."""
    goals = Goals(results, start, report, instructions, loading)
    return "\n".join([machine(load, f"the best of {results.repeat} turns"), "", *calls_table(results), "",
                      *goals.table(), "", *threads_table(results), "", *start_table(start)])


def machine(load, how):
    with open("/proc/cpuinfo") as file:
        model = next((line.split(":", 1)[1].strip() for line in file
                      if line.startswith("model name")), "?")
    system = os.uname()
    return (f"{model}, {os.cpu_count()} CPUs, {system.sysname} {system.release}; load average "
            f"{load[0]:.1f} before and {load[1]:.1f} after; {how}.")


def calls_table(results):
    """CPU nanoseconds of a call above the plain build, for every way and load."""
    import bench_record
    lines = ["| CPU ns per call above plain | " + " | ".join(LOADS) + " | bytes per call, tiny |",
             "|---|" + "---:|" * (len(LOADS) + 1)]
    for way in bench_record.WAYS + bench_record.FENTRY:
        is_base = way.name in (runs.PLAIN.name, runs.CLANG.name)
        cells = []
        for load in LOADS:
            if way in bench_record.FENTRY and load != "tiny":
                cells.append("")
                continue
            value = (results.per_call if is_base else results.above)(load, way)
            why = results.why(load, way)
            cells.append(number(value, 2) if value is not None else why)
        is_silent = is_base or way.kind == "pg" and not way.words
        disk = None if is_silent else results.disk_per_call("tiny", way)
        name = way.name + (" (the call and its work itself)" if is_base else "")
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {number(disk, 2)} |")
    counts = ", ".join(f"{load} {results.calls[load]:,.0f}" for load in LOADS)
    return [*lines, "", f"Instrumented calls of a round: {counts}."]


def threads_cost(results, load, way, threads):
    traced = results.cell.get((load, way.name, threads))
    plain = results.cell.get((load, runs.PLAIN.name, threads))
    if not traced or not plain:
        return None
    return (traced["cpu"] - plain["cpu"]) / results.calls[load, threads]


def threads_table(results):
    lines = ["| CPU ns per call above plain | 1 thread | 8 threads | ratio |",
             "|---|---:|---:|---:|"]
    for load in ("tiny", "compress"):
        for way in (GRAPH, runs.UFTRACE):
            one, eight = (threads_cost(results, load, way, count) for count in (1, 8))
            ratio = eight / one if one and eight else None
            lines.append(f"| {load}, {way.name} | {number(one)} | {number(eight)} | "
                         f"{number(ratio, 2)} |")
    return lines


def start_table(start):
    lines = ["| a program that does nothing | median ms | least ms | median over plain |",
             "|---|---:|---:|---:|"]
    plain = start[runs.PLAIN.name][0]
    for name, (median, least) in start.items():
        lines.append(f"| {name} | {number(median / 1e6, 2)} | {number(least / 1e6, 2)} | "
                     f"{number((median - plain) / 1e6, 2)} |")
    return lines


class Goals:
    """The rows of the table of goals."""

    def __init__(self, results, start, report, instructions, loading):
        self.results, self.start, self.loading = results, start, loading
        self.report, self.instructions = report, instructions
        self.rows = []

    def table(self):
        self.costs()
        self.nopped()
        self.sizes()
        self.start_up()
        bench_dlopen.add_rows(self, self.loading)
        self.reports()
        self.threads()
        return ["| measure | goal | measured | times the goal | |", "|---|---|---:|---:|---|",
                *self.rows]

    def row(self, measure, goal_text, goal, value, unit, digits=1, why="not measured"):
        """`goal` and `value` in the same unit; a value of None is a row that says why."""
        if value is None or goal is None:
            self.rows.append(f"| {measure} | {goal_text} | {why} | | not measured |")
            return
        verdict = "met" if value <= goal else "NOT met"
        self.rows.append(f"| {measure} | {goal_text} | {number(value, digits)}{unit} | "
                         f"{value / goal:.2f} | {verdict} |")

    def costs(self):
        results = self.results
        rdtsc2 = results.cell["tiny", runs.PLAIN.name].get("rdtsc2")
        for kind in ("pg", "fentry"):
            mark = "" if kind == "pg" else ", -mfentry"
            cost = {tracer: results.above("tiny", runs.nopscope_way(tracer, kind))
                    for tracer in runs.TRACERS}
            graph = cost["function_graph"]
            self.row(f"function_graph per call above plain{mark}",
                     f"1.15 × two rdtsc ({rdtsc2:.1f} ns)", 1.15 * rdtsc2, graph, " ns")
            for load in ("tiny",) if kind == "fentry" else LOADS:
                uftrace = results.above(load, runs.UFTRACE)
                own = graph if load == "tiny" else results.above(load, GRAPH)
                self.row(f"function_graph, {load}{mark}", f"0.3 × uftrace ({number(uftrace)} ns)",
                         uftrace and 0.3 * uftrace, own, " ns",
                         why=results.why(load, runs.UFTRACE))
            self.row(f"callgraph per call{mark}", "5 ns", 5, cost["callgraph"], " ns")
            self.row(f"function per call{mark}", f"1.25 × one rdtsc ({rdtsc2 / 2:.1f} ns)",
                     1.25 * rdtsc2 / 2, cost["function"], " ns")
            self.row(f"hits per call{mark}", "4 ns", 4, cost["hits"], " ns")
        # The tiny function is the best case for a tracer that remembers the last call, so real work
        # is shown too.
        for load in LOADS[1:]:
            for tracer, goal in (("callgraph", 5), ("function", 1.25 * rdtsc2 / 2), ("hits", 4)):
                self.row(f"{tracer} per call, {load}", f"{goal:.1f} ns", goal,
                         results.above(load, runs.nopscope_way(tracer)), " ns")

    def nopped(self):
        for (load, kind), ratio in self.instructions.items():
            mark = load if kind == "pg" else load + ", -mfentry"
            is_text = isinstance(ratio, str)
            self.row(f"everything nopped, instructions, {mark}", "1.02 × plain", 1.02,
                     None if is_text else ratio, "", 3, str(ratio))
            way = runs.nopped_way(kind)
            plain = self.results.per_call(load, runs.PLAIN)
            nopped = self.results.per_call(load, way)
            self.row(f"everything nopped, CPU time, {mark}", "1.02 × plain", 1.02,
                     nopped and nopped / plain, "", 3, self.results.why(load, way))

    def sizes(self):
        for load in LOADS:
            cell = self.results.cell.get((load, GRAPH.name), {})
            self.row(f"bytes per call on disk, function_graph, {load}", "4", 4,
                     cell.get("perCall"), "", 2)

    def start_up(self):
        plain = self.start[runs.PLAIN.name][0]
        found = self.start.get(GRAPH.name)
        self.row("start-up over plain", "10 ms", 10, found and (found[0] - plain) / 1e6, " ms")

    def reports(self):
        calls, times = self.report["calls"], self.report["times"]
        seconds = statistics.median(times) / 1e9
        self.row(f"report over {calls / 1e6:.2f} M calls of fib (median of {len(times)}; least "
                 f"{min(times) / 1e9:.2f} s), brought to 5 M", "0.3 s", 0.3, seconds * 5e6 / calls,
                 " s", 2)
        (few, small), (many, large) = sorted(self.report["peaks"].items())
        self.row(f"report's peak memory over {many / 1e6:g} M calls",
                 f"1.1 × that over {few / 1e6:g} M ({small / 1024:.1f} MiB)", 1.1 * small / 1024,
                 large / 1024, " MiB")

    def threads(self):
        for load in ("tiny", "compress"):
            one, eight = (threads_cost(self.results, load, GRAPH, count) for count in (1, 8))
            self.row(f"8 threads' cost per call, {load}", f"1.2 × one thread's ({number(one)} ns)",
                     one and 1.2 * one, eight, " ns")
