# SPDX-License-Identifier: Apache-2.0
"""Runs one load of a program, under callgrind or `nopscope record`, in a folder of its own."""

import json
import os
import re
import shutil
import subprocess
import tempfile

import callgrind_counts

TRACERS = ("function_graph", "function", "callgraph", "profile", "hits")
# Far above what the slowest run needs on a busy machine: only a run that hangs reaches it.
LIMIT_SECONDS = 600


class RunFailed(Exception):
    """A run that gave no result; the text is one line."""


class Outcome:
    """What a program did: its exit status and stdout, and its own clock if it told."""

    def __init__(self, done):
        self.status, self.output = done.returncode, done.stdout
        told = re.search(rb"^own clock (\d+) (\w+)$", done.stderr, re.M)
        self.own_nanoseconds = int(told[1]) if told else None
        self.has_returned = bool(told) and told[2] == b"returned"


class Runner:
    """Recordings and callgrind's files go below `folder`, one folder a run."""

    def __init__(self, nopscope, no_gprof, folder):
        self.nopscope, self.no_gprof, self.folder = nopscope, no_gprof, folder

    def callgrind(self, program, build, load):
        """callgrind's counts and the outcome."""
        path = program.path(build)
        where = self._folder(program)
        # libc's mcount starts a timer whose signals would also be counted as calls.
        outcome = self._run(
            ["valgrind", "-q", *callgrind_counts.OPTIONS,
             f"--callgrind-out-file={where}/callgrind.%p", path],
            load, where, path, {"LD_PRELOAD": self.no_gprof, "NOPSCOPE_AGENT": "none"})
        counts = callgrind_counts.Counts(path, os.path.join(where, "callgrind."))
        shutil.rmtree(where)
        if not counts.entries:
            raise RunFailed(f"{path}: callgrind counted nothing")
        return counts, outcome

    def record(self, program, build, load, tracer):
        """The recording and the outcome; the caller removes the recording."""
        path = program.path(build)
        where = self._folder(program)
        recording = where + ".data"
        outcome = self._run([self.nopscope, "record", "--tracer", tracer, "-o", recording, "--",
                             path], load, where, path, {})
        shutil.rmtree(where)
        return Recording(self.nopscope, recording), outcome

    def _folder(self, program):
        where = tempfile.mkdtemp(dir=self.folder, prefix=program.name + "-")
        program.fill(where)
        return where

    def _run(self, command, load, where, path, more):
        environment = {"PATH": os.environ["PATH"], "HOME": self.folder, "LC_ALL": "C",
                       # valgrind's launcher is a shell script, which sets it.
                       "PWD": where, "CORPUS_DASH": path, **more}
        with open(os.path.join(where, load.stdin) if load.stdin else os.devnull, "rb") as stdin:
            try:
                done = subprocess.run(
                    [*command, *(word.replace("{}", where) for word in load.arguments)],
                    cwd=where, env=environment, stdin=stdin, capture_output=True,
                    timeout=LIMIT_SECONDS)
            except subprocess.TimeoutExpired:
                raise RunFailed(f"{command[0]}: not done after {LIMIT_SECONDS} s") from None
        if done.returncode != 0:
            last = (done.stderr.decode(errors="replace").strip().splitlines() or ["silent"])[-1]
            raise RunFailed(f"{os.path.basename(path)} under {os.path.basename(command[0])}: "
                            f"status {done.returncode}: {last}")
        return Outcome(done)


class Recording:
    """A recording, asked through `nopscope`'s own commands."""

    def __init__(self, nopscope, directory):
        self.nopscope, self.directory = nopscope, directory
        self.report = json.loads(self._ask("report", "--json").stdout)

    def _ask(self, command, *options):
        done = subprocess.run([self.nopscope, command, self.directory, *options],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=LIMIT_SECONDS)
        if done.returncode != 0:
            raise RunFailed(f"nopscope {command}: {done.stderr.strip()}")
        return done

    def calls(self, path):
        """Calls by name of the image `path`."""
        counts = {}
        for row in self.report["functions"]:
            if row["module"] == path:
                counts[row["function"]] = counts.get(row["function"], 0) + row["calls"]
        return counts

    def total(self, name):
        """Nanoseconds in the function of that name, or None."""
        for row in self.report["functions"]:
            if row["function"] == name:
                return row["totalNanoseconds"]
        return None

    def closing_line(self):
        """The numbers of report's last line, by their words: `still open`, `unwound`, `cut off`."""
        line = self._ask("report").stderr.strip().splitlines()[-1]
        numbers = {"still open": 0, "unwound": 0, "cut off": 0}
        for number, words in re.findall(r"([\d,]+) (still open|unwound|cut off)", line):
            numbers[words] = int(number.replace(",", ""))
        return numbers

    def replay(self):
        return self._ask("replay", "--ftrace").stdout

    def export(self, form, target):
        self._ask("export", "--format", form, "-o", target)

    def remove(self):
        shutil.rmtree(self.directory)
