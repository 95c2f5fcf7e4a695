# SPDX-License-Identifier: Apache-2.0
"""Finds in the linker's map (lld -Map) which part of an executable its bytes come from."""

import collections
import os
import re

# Sections that have no bytes in the file or are not loaded.
LEFT_OUT = re.compile(r"\.t?bss|\.debug|\.comment|\.symtab|\.strtab|\.shstrtab|\.swift_ast")
# A row of the map: address, load address, size and alignment. Then, by its indent, a section of the
# output, or what an input file contributed to it.
ROW = re.compile(r" *[0-9a-f]+ +[0-9a-f]+ +([0-9a-f]+) +\d+ ( *)(.*)")
INPUT_INDENT = 8

KINDS = (("code", re.compile(r"\.text|\.plt|\.init$|\.fini$")),
         ("unwind tables", re.compile(r"\.eh_frame")),
         ("relocations", re.compile(r"\.rel")))
OTHER = "data and metadata"

FOUNDATION = "FoundationEssentials and its collections"
ARCHIVES = {
    "libswiftCore.a": "Swift's library and runtime",
    "libFoundationEssentials.a": FOUNDATION, "lib_FoundationCollections.a": FOUNDATION,
    "lib_FoundationCShims.a": FOUNDATION,
    "libswift_StringProcessing.a": "regular expressions", "libswift_RegexParser.a":
    "regular expressions",
    "libswift_Concurrency.a": "concurrency and dispatch", "libdispatch.a": "concurrency and dispatch",
    "libBlocksRuntime.a": "concurrency and dispatch",
    "libstdc++.a": "libstdc++ and libgcc", "libgcc.a": "libstdc++ and libgcc",
    "libgcc_eh.a": "libstdc++ and libgcc",
}


def part_of(path):
    """The part that an input file belongs to: an archive's, the argument parser's or our own."""
    archive = re.search(r"([^/]+\.a)\(", path)
    if archive:
        return ARCHIVES.get(archive[1], "Swift's other libraries")
    if "/ArgumentParser" in path:
        return "ArgumentParser"
    return "our own rooms" if ".build/" in path else "made by the linker"


def bytes_by_part(map_path):
    """Bytes as a dictionary from part to kind to number."""
    found = collections.defaultdict(collections.Counter)
    section = ""
    with open(map_path) as lines:
        for line in lines:
            row = ROW.match(line)
            if not row:
                continue
            size, indent, name = int(row[1], 16), len(row[2]), row[3]
            if indent == 0:
                section = name
            elif indent == INPUT_INDENT and not LEFT_OUT.match(section):
                kind = next((kind for kind, pattern in KINDS if pattern.match(section)), OTHER)
                found[part_of(name)][kind] += size
    return found


def table(executable, map_path):
    found = bytes_by_part(map_path)
    kinds = [kind for kind, _ in KINDS] + [OTHER]
    lines = ["| kB of the executable | all | " + " | ".join(kinds) + " |",
             "|---|" + "---:|" * (len(kinds) + 1)]
    everything = collections.Counter()
    for part, sizes in sorted(found.items(), key=lambda item: -item[1].total()):
        lines.append(row(part, sizes, kinds))
        everything += sizes
    rest = os.path.getsize(executable) - everything.total()
    return [*lines, row("all that is loaded", everything, kinds),
            f"| headers and gaps, symbols where they were kept | {rest / 1000:,.0f} |"
            + " |" * len(kinds)]


def row(part, sizes, kinds):
    cells = [f"{sizes[kind] / 1000:,.0f}" for kind in kinds]
    return f"| {part} | {sizes.total() / 1000:,.0f} | " + " | ".join(cells) + " |"
