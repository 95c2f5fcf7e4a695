# SPDX-License-Identifier: Apache-2.0
"""Which names are one function: the same address has several (aliases, a constructor's two forms),
and a name may stand for several functions (static ones of different files)."""

import json
import re
import subprocess

# Functions that the compiler or the C runtime adds without a call site: start-up code, the linker's
# stubs (nameless for callgrind), the cold part of a function, entered by a jump, and thunks.
_NEVER_INSTRUMENTED = re.compile(
    r"0x[0-9a-f]+|\(below main\)|_start|_init|_fini|__gmon_start__|atexit|frame_dummy"
    r"|__do_global_dtors_aux|(de)?register_tm_clones|_dl_relocate_static_pie"
    r"|.*\.cold(\.\d+)?|_ZTh.*|_ZTv.*|__clang_call_terminate")


class ImageSymbols:
    """The functions of the file `path`, as groups of names; a group is known by one number."""

    def __init__(self, path, nopscope):
        self._group = {}
        self.addresses = {}
        by_address = {}
        for (address, name), (_, shown) in zip(_symbols(path), _symbols(path, "--demangle")):
            first = by_address.setdefault(address, name)
            for other in (name, shown):
                self._join(first, other)
        for address, name in by_address.items():
            self.addresses.setdefault(self.group(name), set()).add(address)
        found = json.loads(_output([nopscope, "sites", "--json", "--names", "linked", path]))
        self.instrumented = {self.group(site["function"]) for site in found["sites"]}

    def group(self, name):
        """The number of the name's group; a name of no symbol is its own group."""
        while self._group.get(name, name) != name:
            name = self._group[name]
        return name

    def _join(self, one, other):
        one, other = self.group(one), self.group(other)
        self._group.setdefault(one, one)
        self._group[other] = one

    def add_up(self, counts):
        """`counts` by name as counts by group."""
        sums = {}
        for name, count in counts.items():
            group = self.group(name)
            sums[group] = sums.get(group, 0) + count
        return sums

    def add_up_addresses(self, counts):
        return {group: sum(counts[address] for address in addresses)
                for group, addresses in self.addresses.items()}

    def should_be_instrumented(self, name):
        return not _NEVER_INSTRUMENTED.fullmatch(name)


def _symbols(path, *options):
    """Address and name of each function, in the file's order."""
    lines = _output(["nm", "--defined-only", "--no-sort", *options, path]).splitlines()
    parsed = (line.split(" ", 2) for line in lines)
    return [(int(words[0], 16), words[2]) for words in parsed if words[1] in "tTwWiu"]


def _output(command):
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          check=True).stdout
