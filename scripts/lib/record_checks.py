# SPDX-License-Identifier: Apache-2.0
"""What a recording is compared with: callgrind's counts, its own exits, the program's clock, and
what uftrace reads in the export."""

import collections
import shutil
import subprocess

from replay_balance import Balance

# The recording's clock is the processor's counter, scaled. It may differ from CLOCK_MONOTONIC by
# this much. Also, a few instructions run between the program's clock reading and the entry of
# main().
CLOCK_TOLERANCE = 0.001
LEAST_SHARE = 0.9


class Row:
    """What is found about one load of one build."""

    def __init__(self, program, build, load):
        self.program, self.build, self.load = program, build, load
        self.functions = self.calls = 0
        self.exits = self.clock = self.uftrace = ""
        self.wrong, self.left_out = [], []
        self.wrong_tracers = set()

    def title(self):
        return f"{self.program.name}, {self.build.name}, {self.load.name}"

    def text(self):
        counts = "equal" if not self.wrong_tracers else "NOT: " + ", ".join(self.wrong_tracers)
        cells = [self.program.name, self.build.name, self.load.name, f"{self.functions:,}",
                 f"{self.calls:,}", counts, self.exits, self.clock, self.uftrace]
        return "| " + " | ".join(cells) + " |"


def compare_output(row, tracer, outcome, expected):
    if row.load.has_stable_output and outcome.output != expected.output:
        row.wrong.append(f"{tracer}: the program's output is not what it writes under callgrind")


def compare_calls(row, tracer, recording, counts, symbols):
    """Every function that has a call site, called or not, against both of callgrind's counts."""
    found = symbols.add_up(recording.calls(counts.path))
    calls = symbols.add_up(counts.calls)
    entries = symbols.add_up_addresses(counts.entries)
    varying = {symbols.group(name): reason for name, reason in row.load.varying.items()}
    by_graph = {symbols.group(name) for name in row.program.calls_of_graph}
    wrong = _losses(recording.report)
    compared = 0
    for group in symbols.instrumented | found.keys():
        here = found.get(group, 0)
        if group in varying:
            continue
        if here != entries.get(group, 0):
            wrong.append(f"{group}: {here} recorded, its first instruction ran "
                         f"{entries.get(group, 0)} times")
        elif here != calls.get(group, 0) and group not in by_graph:
            wrong.append(f"{group}: {here} recorded, callgrind's graph has {calls.get(group, 0)}")
        compared += here
    for name in sorted(counts.functions | counts.calls.keys()):
        if symbols.group(name) not in symbols.instrumented and symbols.should_be_instrumented(name):
            wrong.append(f"{name}: ran {calls.get(symbols.group(name), 0)} times without a call site")
    if wrong:
        row.wrong_tracers.add(tracer)
        row.wrong += [f"{tracer}: {line}" for line in wrong]
    row.functions = sum(1 for group, count in found.items() if count and group not in varying)
    row.calls = compared
    for reason in dict.fromkeys(row.load.varying.values()):
        names = ", ".join(name for name, why in row.load.varying.items() if why == reason)
        row.left_out.append(f"{row.program.name} {row.load.name}: left out: {names}: {reason}")
    for name, reason in row.program.calls_of_graph.items():
        row.left_out.append(f"{row.program.name}: {name} is compared by its first instruction "
                            f"alone: {reason}")


def _losses(report):
    wrong = []
    if report["lostEvents"] or report["corrupted"]:
        wrong.append(f"{report['lostEvents']} events lost, corrupted: {report['corrupted']}")
    return wrong


def compare_exits(row, recording):
    """Checks that each entry has its exit, was unwound, or was open when its process ended. The
    sums are counted in replay's text, and must equal the report's. Returns the balance, and how
    many open calls of the report no line of replay shows: those that a forked child got from its
    parent and has not left."""
    balance, told = Balance(recording.replay()), recording.closing_line()
    still_open = sum(balance.open.values())
    wrong = balance.strange[:3]
    by_name = {}
    for function in recording.report["functions"]:
        by_name[function["function"]] = by_name.get(function["function"], 0) + function["calls"]
    if balance.calls != by_name:
        wrong.append("replay's calls are not the report's")
    inherited = told["still open"] - still_open
    if balance.unwound + balance.orphans_unwound != told["unwound"] or told["cut off"] \
            or inherited < 0 or (inherited and not row.program.leaves_open):
        wrong.append(f"replay has {balance.unwound} + {balance.orphans_unwound} unwound and "
                     f"{still_open} open, report {told}")
    if still_open and not row.program.leaves_open:
        wrong.append(f"{still_open} calls have no exit: {dict(balance.open)}")
    row.exits = f"{balance.returned:,} returned, {balance.unwound:,} unwound"
    if still_open:
        row.exits += f", {still_open} open"
        if row.program.leaves_open:
            row.left_out.append(f"{row.program.name}: calls are open at the end: "
                                f"{row.program.leaves_open}")
    row.wrong += ["exits: " + line for line in wrong]
    return balance, inherited


def compare_clock(row, recording, outcome):
    """Checks that main()'s time is within the time that the program measures around it, and that
    this is within the time of the function that measures, unless main() never returned."""
    if outcome.own_nanoseconds is None:
        row.clock = "–"
        row.left_out.append(f"{row.program.name} leaves by _exit() or exec: it tells no time")
        return
    inner, outer = recording.total("main"), recording.total("__wrap_main")
    measured, slack = outcome.own_nanoseconds, 1 + CLOCK_TOLERANCE
    if inner is None or outer is None:
        row.clock = "NOT"
        row.wrong.append("clock: main() was not recorded")
        return
    row.clock = f"{inner / measured:.4f}"
    fits = LEAST_SHARE * measured <= inner <= measured * slack
    if outcome.has_returned:
        fits = fits and measured <= outer * slack
    elif inner > measured:
        # The recording continues until the last event, which is after the measurement.
        fits = LEAST_SHARE * inner <= measured
    if not fits:
        row.wrong.append(f"clock: main() took {inner} ns, the program measured {measured}, in a "
                         f"function of {outer} ns")


def compare_uftrace(row, recording, balance, inherited, symbols):
    """The calls of each function that the real uftrace counts in the export. Calls that a forked
    child got from its parent appear there from the child's first event on: one call more each."""
    directory = recording.directory + ".uftrace"
    recording.export("uftrace", directory)
    done = subprocess.run(["uftrace", "report", "--no-pager", "--demangle=no", "-d", directory,
                           "-f", "call"],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    shutil.rmtree(directory)
    found = collections.Counter()
    for line in done.stdout.splitlines():
        number, _, name = line.strip().partition(" ")
        if number.isdigit():
            found[name.strip()] += int(number)
    found = collections.Counter(symbols.add_up(found))
    expected = collections.Counter(symbols.add_up(balance.calls + balance.orphans))
    more, less = found - expected, expected - found
    row.uftrace = "equal"
    if less or sum(more.values()) != inherited:
        row.uftrace = "NOT"
        row.wrong.append(f"uftrace: counts less by {dict(less.most_common(3))}, more by "
                         f"{dict(more.most_common(3))}, expected {inherited} more "
                         f"({done.stderr.strip()[:200]})")
