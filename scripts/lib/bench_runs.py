# SPDX-License-Identifier: Apache-2.0
"""Runs one load under one tracer, in a folder of its own that is gone afterwards."""

import json
import os
import re
import shutil
import subprocess
import tempfile

# Far above what the slowest run needs on a busy machine: only a run that hangs reaches it.
LIMIT_SECONDS = 300

TRACERS = ("function_graph", "function", "callgraph", "hits", "profile")


class RunFailed(Exception):
    """A run that gave no figure; the text is one line."""


class Way:
    """One way to run a load: its build (`kind`), the words before it, and what it is compared to.

    `out` in `words` stands for the directory that the tracer writes into."""

    def __init__(self, name, kind, words=(), base="plain"):
        self.name, self.kind, self.words, self.base = name, kind, list(words), base

    @property
    def is_nopscope(self):
        return bool(self.words) and self.words[0] == "nopscope"


def nopscope_way(tracer, kind="pg"):
    suffix = "" if kind == "pg" else ", -mfentry"
    return Way(f"nopscope {tracer}{suffix}", kind,
               ["nopscope", "record", "--tracer", tracer, "-o", "out", "--"])


def nopped_way(kind="pg"):
    suffix = "" if kind == "pg" else ", -mfentry"
    return Way(f"nopscope, everything nopped{suffix}", kind,
               ["nopscope", "record", "--filter", "nothing_matches_this", "-o", "out", "--"])


PLAIN = Way("plain", "plain")
CLANG = Way("plain, clang", "clang", base="clang")
GPROF = Way("gprof (libc's mcount)", "pg")
UFTRACE = Way("uftrace record", "pg", ["uftrace", "record", "-d", "out"])
XRAY = Way("XRay FDR", "xray", base="clang")


class Runner:
    """`nopscope` is the command's path; recordings go below `folder`."""

    def __init__(self, nopscope, loads, folder):
        self.nopscope, self.loads, self.folder = nopscope, loads, folder

    def why_not(self, way):
        """The reason why this way cannot be measured here, or None."""
        if way.words and way.words[0] == "uftrace" and shutil.which("uftrace") is None:
            return "uftrace could not be installed"
        return self.loads.missing.get(way.kind)

    def command(self, way, load, arguments):
        words = [self.nopscope if word == "nopscope" else word for word in way.words]
        return [*words, self.loads.path(load, way.kind), *map(str, arguments)]

    def run(self, way, load, arguments, then=None):
        """What the load printed as a dictionary of numbers, with `wall` and `peak` of the whole
        command, `bytes` on disk, and what `then`, called with the run's folder, returned."""
        where = tempfile.mkdtemp(dir=self.folder)
        try:
            output, figures = self.measured(self.command(way, load, arguments), where)
            figures.update({name: float(value) for name, value in
                            re.findall(r"\b(best|cpu|calls|rdtsc2) ([0-9.]+)", output)})
            figures["bytes"] = written_bytes(where)
            if then is not None:
                figures.update(then(os.path.join(where, "out")))
            return figures
        finally:
            shutil.rmtree(where, ignore_errors=True)

    def measured(self, command, where):
        """The command's stdout, and its `wall` nanoseconds and `peak` KiB."""
        times = os.path.join(where, "measured")
        try:
            done = subprocess.run([self.loads.path("measure", "plain"), times, *command], cwd=where,
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=LIMIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise RunFailed(f"{command[0]}: not done after {LIMIT_SECONDS} s") from None
        if done.returncode != 0:
            last = (done.stderr.strip().splitlines() or ["no word on stderr"])[-1]
            raise RunFailed(f"{os.path.basename(command[0])}: status {done.returncode}: {last}")
        with open(times) as file:
            found = re.findall(r"(wall|peak) (\d+)", file.read())
        os.remove(times)
        return done.stdout, {name: float(value) for name, value in found}

    def info(self, directory):
        """Calls, bytes per call and losses, as `nopscope info --json` has them."""
        done = subprocess.run([self.nopscope, "info", "--json", directory],
                              capture_output=True, text=True, timeout=LIMIT_SECONDS)
        if done.returncode != 0:
            raise RunFailed(f"nopscope info: {done.stderr.strip()}")
        document = json.loads(done.stdout)
        return {"recorded": float(document["calls"]), "perCall": document["bytesPerCall"],
                "lost": document["lostEvents"] + (1 if document["corrupted"] else 0)}


def written_bytes(directory):
    """All files below it, by their lengths."""
    return sum(os.path.getsize(os.path.join(place, name))
               for place, _, names in os.walk(directory) for name in names)


def own_instructions(command, where, preload):
    """The instructions that the program's own image executes, as callgrind counts them. Those that
    libraries execute, mcount's among them, are left out; the call to it is one instruction.
    `preload` replaces libc's mcount and its timer."""
    output = os.path.join(where, "callgrind")
    done = subprocess.run(["valgrind", "--tool=callgrind", "--callgrind-out-file=" + output,
                           *command], cwd=where, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=LIMIT_SECONDS,
                          env={**os.environ, "LD_PRELOAD": preload})
    if done.returncode != 0:
        raise RunFailed(f"callgrind: status {done.returncode}")
    with open(output) as file:
        return sum_of_object(file, command[0])


def sum_of_object(lines, path):
    """Adds up the self cost of the image `path` in callgrind's format: `ob=(ID) NAME` names the
    image of what follows, NAME only once; the line after `calls=` is the callee's cost."""
    names, current, total, skip = {}, None, 0, False
    for line in lines:
        name = re.match(r"(c?ob)=\((\d+)\)(?: (.*))?$", line)
        if name:
            if name[3]:
                names[name[2]] = name[3].strip()
            if name[1] == "ob":
                current = names.get(name[2])
        elif line.startswith("calls="):
            skip = True
        elif line[:1] in "0123456789+-*" and line.strip():
            if not skip and current == path:
                total += int(line.split()[-1])
            skip = False
    return total
