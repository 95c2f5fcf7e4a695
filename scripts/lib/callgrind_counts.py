# SPDX-License-Identifier: Apache-2.0
"""Reads callgrind's files: how often each function of one image was called.

There are two independent counts. `calls` comes from callgrind's own call graph: the sum of all
`calls=` lines that lead to the function. `entries` is how often the function's first instruction was
executed (`--dump-instr=yes`). They differ where callgrind takes a jump for a call."""

import collections
import glob
import re

# callgrind dumps its counts and sets them to zero before each of these. So a child starts with
# empty counts, and a process's counts before exec are kept. A PLT stub that is skipped would be
# added to the instruction that calls it, which under -mfentry is a function's first.
OPTIONS = ["--tool=callgrind", "--trace-children=yes", "--dump-instr=yes", "--demangle=no",
           "--skip-plt=no"] + [
    "--dump-before=" + name
    for name in ("fork", "vfork", "posix_spawn", "posix_spawn@@GLIBC_2.15", "execve")]

_NAME = re.compile(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?$")


class Counts:
    """The counts of the image `path` in all files whose names begin with `prefix`."""

    def __init__(self, path, prefix):
        self.path = path
        self.calls = collections.Counter()
        self.entries = collections.Counter()
        # A call without a caller (a signal handler's, say) shows only by its cost.
        self.functions = set()
        self.files = sorted(glob.glob(glob.escape(prefix) + "*"))
        for name in self.files:
            with open(name) as file:
                self._read(file)

    def _read(self, lines):
        names = _Names()
        address, is_call_cost = 0, False
        for line in lines:
            if line[:1] in "0123456789+-*":
                # The line after `calls=` is the cost of the callee, not the instruction's own, and
                # the next line's position is not relative to it.
                if is_call_cost:
                    is_call_cost = False
                    continue
                words = line.split()
                if len(words) < 2:
                    continue
                address = _moved(address, words[0])
                if names.image == self.path and len(words) > 2:
                    self.entries[address] += int(words[2])
            elif line.startswith("calls="):
                is_call_cost = True
                if names.image_of_callee() == self.path:
                    self.calls[_bare(names.of["cfn"])] += int(line[6:].split()[0])
            elif names.take(line) and names.image == self.path:
                self.functions.add(_bare(names.of["fn"]))


class _Names:
    """What the lines `ob=`, `fn=`, `cob=` and `cfn=` name. A name's text is written once, then its
    number alone, which is shared with the callee's form."""

    def __init__(self):
        self._texts = {}
        self.of = {"ob": None, "fn": None, "cob": None, "cfn": None}

    @property
    def image(self):
        return self.of["ob"]

    def image_of_callee(self):
        """`cob=` is for one call, and left out where it is the caller's image."""
        image = self.of["cob"] or self.image
        self.of["cob"] = None
        return image

    def take(self, line):
        """Whether the line begins a function."""
        found = _NAME.match(line)
        if not found:
            return False
        callee, kind, number, text = found.groups()
        if text:
            self._texts[kind, number] = text.strip()
        self.of[callee + kind] = self._texts[kind, number]
        return callee + kind == "fn"


def _bare(name):
    """Without the number that callgrind gives to levels of recursion."""
    return re.sub(r"'\d+$", "", name)


def _moved(address, word):
    """Positions are absolute, or relative to the line before."""
    if word == "*":
        return address
    if word[0] in "+-":
        return address + int(word, 0)
    return int(word, 0)
