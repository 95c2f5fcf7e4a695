# SPDX-License-Identifier: Apache-2.0
"""Reads the text of `nopscope replay` as a person would, and pairs each entry with its exit."""

import collections
import re

_SWITCH = re.compile(r" 0\) +.*-(\d+) +=> +.*-(\d+) *$")
_LINE = re.compile(r" 0\) .{14}\|  ( *)(.*)$")
_CLOSE = re.compile(r"\}(?: /\* (.*?)( unwound)? \*/)?$")


class Balance:
    """`calls` by name; how often calls `returned` or were `unwound`; `open` by name, entries with
    neither; `orphans` by name, exits whose entry no line shows: a forked child leaves what its
    parent entered (`orphans_unwound`: how many so). `strange`: lines that fit nothing."""

    def __init__(self, text):
        self.calls = collections.Counter()
        self.open = collections.Counter()
        self.orphans = collections.Counter()
        self.returned = self.unwound = self.orphans_unwound = 0
        self.strange = []
        # For each thread, the names of its open calls, by their indentation.
        self._threads = collections.defaultdict(dict)
        lines = text.splitlines()
        switches = [found for found in map(_SWITCH.match, lines) if found]
        thread = switches[0][1] if switches else "0"
        for line in lines:
            switch = _SWITCH.match(line)
            if switch:
                thread = switch[2]
            elif line.startswith(" 0)"):
                found = _LINE.match(line)
                if found:
                    self._take(self._threads[thread], len(found[1]), found[2])
                else:
                    self.strange.append(line)
            elif line and not line.startswith(("#", " ---")):
                self.strange.append(line)
        for frames in self._threads.values():
            self.open.update(frames.values())

    def _take(self, frames, depth, text):
        close = _CLOSE.match(text)
        if not close:
            self._enter(frames, depth, text)
        elif depth in frames:
            name = frames.pop(depth)
            if close[1] not in (None, name):
                self.strange.append(f"{text} closes {name}")
            if close[2]:
                self.unwound += 1
            else:
                self.returned += 1
        elif close[1]:
            self.orphans[close[1]] += 1
            self.orphans_unwound += bool(close[2])
        else:
            self.strange.append(text + " closes nothing")

    def _enter(self, frames, depth, text):
        is_leaf = text.endswith("();")
        if not is_leaf and not text.endswith("() {"):
            self.strange.append(text)
            return
        name = text[:-3] if is_leaf else text[:-4]
        self.calls[name] += 1
        # Calls that are open at this depth or deeper are over: exec began a new stack.
        for left in [deeper for deeper in frames if deeper >= depth]:
            self.open[frames.pop(left)] += 1
        if is_leaf:
            self.returned += 1
        else:
            frames[depth] = name
