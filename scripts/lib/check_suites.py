# SPDX-License-Identifier: Apache-2.0
"""Runs programs' own test suites alone and recorded: the same results, test by test.

usage: check_suites.py NOPSCOPE SOURCES WORK [--quick] SUITE...

Builds each program from Debian's source with -pg -mfentry. Writes Markdown to stdout. Exit status:
0 if all results are equal, 1 if not, 125 if a program could not be built or its tests did not run.
"""

import collections
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

TRACERS = ["callgraph", "function_graph"]
JOBS = str(os.cpu_count() or 1)
# Seconds. A suite that hangs is a result too.
LIMIT = 3000


class NotCompared(Exception):
    """A suite that could not be built or run; the text is one line."""


class Suite:
    """How a program is built and how its tests are run."""

    name = package = ""
    # How many times its time alone a recorded run may take; None: that is not looked at.
    slowest = None

    def __init__(self, work, source, is_quick):
        self.is_quick = is_quick
        self.folder = os.path.join(work, self.name + ("-quick" if is_quick else ""))
        self.source = os.path.join(source, self.package)

    def build(self):
        """Configures and builds in a folder of its own, once."""
        done = os.path.join(self.folder, "done")
        if os.path.exists(done):
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.source, self.folder, symlinks=True)
        self.prepare()
        log = os.path.join(self.folder, "build.log")
        flags = ("-O0" if self.is_quick else "-O2") + " -pg -mfentry -w"
        with open(log, "wb") as out:
            for words, where in self.commands():
                status = subprocess.run(
                    words, cwd=os.path.join(self.folder, where), stdout=out, stderr=out,
                    stdin=subprocess.DEVNULL, env=dict(os.environ, CFLAGS=flags),
                    check=False).returncode
                if status != 0:
                    raise NotCompared(f"{' '.join(words)} failed with status {status}: see {log}")
        with open(done, "w", encoding="utf-8"):
            pass

    def prepare(self):
        """Changes its source before it is built."""

    def commands(self):
        """What builds it: words, and the folder to run them in."""
        raise NotImplementedError

    def tests(self):
        """What runs its tests: words, and the folder to run them in."""
        raise NotImplementedError

    def environment(self):
        """Variables for its tests."""
        return {}

    def results(self, output):
        """By name of the test: its result."""
        raise NotImplementedError

    def run(self, prefix=()):
        """The results and the seconds of a run of its tests.

        What gprof writes goes elsewhere: tests that list their folder would find it, and a recorded
        program writes none."""
        words, where = self.tests()
        began = time.monotonic()
        try:
            result = subprocess.run(
                [*prefix, *words], cwd=os.path.join(self.folder, where), stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT, check=False,
                env=dict(os.environ, GMON_OUT_PREFIX=os.path.join(self.folder, "gmon"),
                         **self.environment()))
        except subprocess.TimeoutExpired as error:
            return self.results((error.stdout or b"").decode("utf-8", "replace")), float(LIMIT)
        return self.results(result.stdout.decode("utf-8", "replace")), time.monotonic() - began


class CPython(Suite):
    """What starts processes, handles signals, forks, loads libraries and throws."""

    name, package = "cpython", "python3.11"
    modules = ["test_subprocess", "test_signal", "test_threading", "test_ctypes", "test_fork1",
               "test_posix", "test_exceptions"]
    # The quick build has its modules in the executable, and not in libraries.
    built_in = {
        "_bisect": "_bisectmodule.c", "_contextvars": "_contextvarsmodule.c",
        "_datetime": "_datetimemodule.c", "_heapq": "_heapqmodule.c", "_json": "_json.c",
        "_opcode": "_opcode.c", "_pickle": "_pickle.c", "_posixsubprocess": "_posixsubprocess.c",
        "_queue": "_queuemodule.c", "_random": "_randommodule.c", "_sha512": "sha512module.c",
        "_socket": "socketmodule.c", "_statistics": "_statisticsmodule.c", "_struct": "_struct.c",
        "array": "arraymodule.c", "fcntl": "fcntlmodule.c", "grp": "grpmodule.c",
        "math": "mathmodule.c", "mmap": "mmapmodule.c", "resource": "resource.c",
        "select": "selectmodule.c", "termios": "termios.c", "unicodedata": "unicodedata.c",
    }
    quick_modules = ["test_subprocess", "test_fork1"]
    quick_tests = ["test_pass_fds*", "test_close_fds_when*", "*env*", "test.test_fork1.*"]

    def prepare(self):
        if not self.is_quick:
            return
        setup = os.path.join(self.folder, "Modules", "Setup.local")
        with open(setup, "w", encoding="utf-8") as file:
            file.write("*static*\n")
            file.writelines(f"{name} {source}\n" for name, source in self.built_in.items())

    def commands(self):
        if self.is_quick:
            return [(["./configure"], "."), (["make", "-j", JOBS, "python"], "."),
                    (["make", "platform"], ".")]
        return [(["./configure"], "."), (["make", "-j", JOBS], ".")]

    def tests(self):
        words = ["./python", "-m", "test", "-v", "--timeout", "600"]
        if self.is_quick:
            matches = [word for test in self.quick_tests for word in ("-m", test)]
            return words + matches + self.quick_modules, "."
        return words + self.modules, "."

    def results(self, output):
        found, name = {}, None
        for line in output.splitlines():
            header = re.match(r"test_\w+ \(([\w.]+)\)", line)
            if header:
                name = header[1]
            result = re.search(
                r"(?:\.\.\. |^)(ok|FAIL|ERROR|skipped|expected failure|unexpected success)\b", line)
            if name and result and name not in found:
                found[name] = result[1]
        return found


class Tcl(Suite):
    """Loads, unloads and loads again; threads."""

    name, package = "tcl", "tcl8.6"

    def commands(self):
        return [(["./configure", "--enable-shared", "--enable-threads"], "unix"),
                (["make", "-j", JOBS, "binaries", "tcltest"], "unix")]

    def environment(self):
        machine = os.uname().machine
        return {"TCL_LIBRARY": os.path.join(self.folder, "library"),
                "LD_LIBRARY_PATH": os.path.join(self.folder, "unix"),
                "TCLLIBPATH": f"/usr/lib/tcltk/{machine}-linux-gnu"}

    def tests(self):
        files = "load.test unload.test" + ("" if self.is_quick else " thread.test")
        return ["./tcltest", "../tests/all.tcl", "-verbose", "pstel", "-file", files], "unix"

    def results(self, output):
        found = {}
        for name, result in re.findall(
                r"^(?:\+\+\+\+|====) (\S+) .*?(PASSED|SKIPPED|FAILED)", output, re.M):
            found[name] = "ok" if result == "PASSED" else result
        return found


class Bash(Suite):
    """A shell: thousands of processes."""

    name, package = "bash", "bash"
    slowest = 1.5
    quick_tests = ["run-func", "run-comsub", "run-trap", "run-procsub"]

    def commands(self):
        return [(["./configure"], "."), (["make", "-j", JOBS], "."),
                (["make", "recho", "zecho", "printenv", "xcase"], ".")]

    def environment(self):
        # As its Makefile and `run-all` set them.
        path = os.pathsep.join([os.path.join(self.folder, "tests"), os.environ.get("PATH", "")])
        return {"THIS_SH": os.path.join(self.folder, "bash"), "BUILD_DIR": self.folder,
                "BASH_TSTOUT": os.path.join(self.folder, "output"), "PATH": path}

    def tests(self):
        if self.is_quick:
            each = " ".join(self.quick_tests)
            return ["sh", "-c", f"for test in {each}; do echo $test; sh ./$test; done"], "tests"
        return ["make", "tests"], "."

    def results(self, output):
        # A test prints what differs from what is expected. Numbers in parentheses are process ids.
        found, name = {}, None
        for line in output.splitlines():
            if re.fullmatch(r"run-[\w.-]+", line.strip()):
                name = line.strip()
                found[name] = "ok"
            elif name and line[:2] in ("< ", "> "):
                line = re.sub(r"\(\d+\)", "(N)", line)
                found[name] = ("" if found[name] == "ok" else found[name]) + line + "\n"
        return found


SUITES = {suite.name: suite for suite in (CPython, Tcl, Bash)}


def record(suite, nopscope, tracer, work):
    """The results and seconds under a tracer, and what `info` says of the recording.

    The recording stays until all is done: ext4 is slow at making files just after it has deleted
    others."""
    data = os.path.join(tempfile.mkdtemp(dir=work), "data")
    results, seconds = suite.run([nopscope, "record", "--tracer", tracer, "-o", data, "--"])
    info = subprocess.run([nopscope, "info", "--json", data], capture_output=True, check=False)
    document = json.loads(info.stdout) if info.returncode == 0 else {}
    if not document.get("calls"):
        raise NotCompared(f"nothing of {suite.name} was recorded with {tracer}: "
                          + info.stderr.decode("utf-8", "replace").strip())
    return results, seconds, document


def differing(expected, found):
    return {name for name in expected | found if expected.get(name) != found.get(name)}


def compare(suite, nopscope, work):
    """Prints a table; whether all is equal."""
    suite.build()
    expected, alone = suite.run()
    if not expected:
        raise NotCompared(f"the tests of {suite.name} printed no result")
    kinds = collections.Counter(result if len(result) < 20 else "not as expected"
                                for result in expected.values())
    print(f"\n**{suite.name}** ({suite.package}), alone: {alone:.0f} s; "
          + ", ".join(f"{count} {kind}" for kind, count in kinds.most_common()))
    print("\n| tracer | time | calls | processes missing | calls lost | other results |")
    print("|---|---:|---:|---:|---:|---|")
    is_equal = True
    for tracer in TRACERS:
        found, seconds, info = record(suite, nopscope, tracer, work)
        names = differing(expected, found)
        if names:
            # Some depend on the time, and differ now and then when they run alone.
            names &= differing(expected, record(suite, nopscope, tracer, work)[0])
        is_slow = (suite.slowest is not None and not suite.is_quick
                   and seconds > suite.slowest * alone)
        cells = [tracer, f"{seconds / alone:.2f} ×{' TOO SLOW' if is_slow else ''}",
                 f"{info['calls']:,}", f"{len(info['missing'])}", f"{info['lostEvents']:,}",
                 ", ".join(sorted(names)) or "none"]
        print("| " + " | ".join(cells) + " |", flush=True)
        is_equal = is_equal and not names and not is_slow and info["lostEvents"] == 0
    return is_equal


def main():
    nopscope, sources, work, *names = sys.argv[1:]
    is_quick = "--quick" in names
    recordings = tempfile.mkdtemp(prefix="recordings-", dir=work)
    try:
        results = [compare(SUITES[name](work, sources, is_quick), nopscope, recordings)
                   for name in names if name in SUITES]
    except NotCompared as error:
        print(f"check-suites: {error}", file=sys.stderr)
        return 125
    finally:
        shutil.rmtree(recordings, ignore_errors=True)
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
