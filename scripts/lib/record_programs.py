# SPDX-License-Identifier: Apache-2.0
"""The programs that `scripts/check-record` records: how each is built, and what it is run on."""

import glob
import os
import subprocess

from library_flags import LUA_FLAGS, ZLIB_FLAGS, write_lua_header

COMPILERS = {"gcc": ("gcc", "g++"), "clang": ("clang", "clang++")}
LEVELS = ("-O0", "-O2")
VARIANTS = {
    "pg": ["-pg"],
    "fentry": ["-pg", "-mfentry"],
    "patchable": ["-fpatchable-function-entry=5"],
}


class BuildFailed(Exception):
    """A program that cannot be built; the text is one line."""


class Build:
    """One way to build a program."""

    def __init__(self, program, compiler, level, variant):
        self.program, self.compiler, self.level, self.variant = program, compiler, level, variant

    @property
    def name(self):
        return f"{self.compiler} {self.level} {self.variant}"

    @property
    def flags(self):
        flags = [self.level, "-g0", "-w", "-fno-omit-frame-pointer", *VARIANTS[self.variant]]
        # Only under -pg does gcc know without a flag that there is a call at the entry.
        if self.compiler == "gcc" and self.variant == "patchable":
            flags.append("-fno-ipa-ra")
        return flags


class Load:
    """One run of a program: its arguments and its standard input, a file's name.

    `varying` names the functions whose counts differ from run to run, with the reason."""

    def __init__(self, name, arguments, stdin=None, varying=(), has_stable_output=True):
        self.name, self.arguments, self.stdin = name, arguments, stdin
        self.varying = dict(varying)
        self.has_stable_output = has_stable_output


class Program:
    """`package` is Debian's source package. `calls_of_graph` names the functions in whose calls
    callgrind's call graph is wrong, with the reason: there only the executions of the first
    instruction count. `leaves_open`: why calls may be open at the end of the recording.
    `not_compared`: names of builds that there is nothing to compare of, with the reason."""

    name = package = ""
    is_cpp = False
    leaves_open = None
    calls_of_graph = {}
    not_compared = {}

    def __init__(self, sources, own, folder):
        self.own, self.folder = own, folder
        self.source = os.path.join(sources, self.package)
        self.zlib = os.path.join(sources, "zlib")

    def prepare(self):
        """Generates what all builds share."""

    def files(self):
        raise NotImplementedError

    def flags(self):
        return []

    def loads(self):
        raise NotImplementedError

    def fill(self, where):
        """Lays out the folder that a load runs in."""

    def path(self, build):
        name = f"{self.name}-{build.compiler}{build.level}-{build.variant}"
        return os.path.join(self.folder, name)

    def build(self, build):
        path = self.path(build)
        if os.path.exists(path):
            return
        c, cpp = COMPILERS[build.compiler]
        clock = path + ".clock.o"
        run([c, *build.flags, "-c", os.path.join(self.own, "clock.c"), "-o", clock])
        run([cpp if self.is_cpp else c, *build.flags, *self.flags(), *self.files(), clock,
             "-Wl,--wrap=main", "-Wl,--build-id=sha1", "-pthread", "-lm", "-o", path + ".partial"])
        os.remove(clock)
        os.rename(path + ".partial", path)


class Lua(Program):
    name, package = "lua", "lua5.4"

    def prepare(self):
        write_lua_header(self.folder)

    def files(self):
        everything = sorted(glob.glob(os.path.join(self.source, "src", "*.c")))
        return [file for file in everything if os.path.basename(file) != "luac.c"]

    def flags(self):
        # Lua makes its hash seed from addresses and the time, and indexes its cache of strings by
        # addresses. With a fixed seed and a cache of one entry, each run makes the same calls.
        return [*LUA_FLAGS, "-Dluai_makeseed(L)=42u", "-DSTRCACHE_N=1", "-DSTRCACHE_M=1",
                "-I" + self.folder, "-I" + os.path.join(self.source, "src")]

    def loads(self):
        return [Load("script", [os.path.join(self.own, "script.lua")])]


class Minigzip(Program):
    name, package = "minigzip", "zlib"

    def files(self):
        return [*sorted(glob.glob(self.source + "/*.c")), self.source + "/test/minigzip.c"]

    def flags(self):
        return [*ZLIB_FLAGS, "-I" + self.source]

    def fill(self, where):
        write_text(os.path.join(where, "text"), 200_000)
        with open(os.path.join(where, "text"), "rb") as text:
            packed = subprocess.run(["gzip", "-n"], stdin=text, capture_output=True, check=True)
        with open(os.path.join(where, "packed"), "wb") as file:
            file.write(packed.stdout)

    def loads(self):
        return [Load("-6", ["-6"], "text"), Load("-d", ["-d"], "packed")]


# Pools of buffers and lists of jobs; each has a lock.
PIGZ_VARYING = dict.fromkeys(
    ("possess_", "release_", "twist_", "new_lock_", "free_lock_", "alloc", "my_malloc"),
    "whether a free buffer is found or a new one made, and who comes first, is up to the scheduler")


class Pigz(Minigzip):
    name, package = "pigz", "pigz"

    def files(self):
        return [*(os.path.join(self.source, name + ".c") for name in ("pigz", "yarn", "try")),
                *sorted(glob.glob(self.source + "/zopfli/src/zopfli/*.c")),
                *sorted(glob.glob(self.zlib + "/*.c"))]

    def flags(self):
        return [*ZLIB_FLAGS, "-I" + self.zlib]

    def loads(self):
        words = ["-c", "-n", "-T", "-b", "32"]
        return [Load("-p 1", [*words, "-p", "1"], "text"),
                Load("-p 4", [*words, "-p", "4"], "text", varying=PIGZ_VARYING)]


class Compress(Minigzip):
    """Stands in for pigz where its source cannot be had: zlib in threads of our own driver."""

    name, package = "compress", "zlib"

    def files(self):
        driver = os.path.join(os.path.dirname(self.own), "bench-load", "compress.c")
        return [*sorted(glob.glob(self.source + "/*.c")), driver]

    def loads(self):
        return [Load("4 threads", ["4", "1"], has_stable_output=False)]


class Dash(Program):
    name, package = "dash", "dash"
    leaves_open = "its processes end in _exit() and exec"
    calls_of_graph = {
        "vforkexec": "valgrind's vfork returns in the child without having been called there",
    }
    generated = ("builtins", "init", "nodes", "signames", "syntax")

    def prepare(self):
        if os.path.exists(os.path.join(self.source, "src", "syntax.c")):
            return
        tools = ["AUTOMAKE=:", "AUTOCONF=:", "ACLOCAL=:", "AUTOHEADER=:"]
        run(["./configure", "CC=gcc"], self.source)
        run(["make", *tools, "-C", "src", "builtins.h", "nodes.h", "syntax.h", "token.h",
             "token_vars.h", *(name + ".c" for name in self.generated)], self.source)

    def files(self):
        source = os.path.join(self.source, "src")
        # Files that only help to build it have a main() of their own.
        everything = [file for file in glob.glob(source + "/*.c")
                      if not os.path.basename(file).startswith("mk")]
        built_in = [f"{source}/bltin/{name}.c" for name in ("printf", "test", "times")]
        return sorted(everything) + built_in

    def flags(self):
        return ["-include", os.path.join(self.source, "config.h"), "-DBSD=1", "-DSHELL",
                "-I" + os.path.join(self.source, "src")]

    def loads(self):
        return [Load("script", [os.path.join(self.own, "script.sh")],
                     varying={"onsig": "two children that end at once send one SIGCHLD",
                              "waitone": "whether it is called again depends on SIGCHLD's moment",
                              "waitproc": "only waitone calls it"})]


class Ninja(Program):
    name, package, is_cpp = "ninja", "ninja-build", True
    not_compared = {
        "gcc -O0 patchable": "gcc 12 ties each file's list of entries to one of its functions; where "
                             "the linker discards that one, the list goes with it",
        "gcc -O2 patchable": "gcc 12 lists functions that several files define in one section for "
                             "each file, and every linker refuses the ones that it discarded"}
    leaves_open = "its main() ends in exit()"

    def files(self):
        no_part = ("_test.cc", "_perftest.cc", "win32.cc", ".in.cc", "bench.cc", "/test.cc",
                   "browse.cc")
        everything = sorted(glob.glob(os.path.join(self.source, "src", "*.cc")))
        return [file for file in everything if not file.endswith(no_part)]

    def flags(self):
        return ["-DUSE_PPOLL=1", "-DNINJA_PYTHON=\"python3\""]

    def fill(self, where):
        lines = ["rule make", "  command = : $in && echo $out > $out", "  description = MAKE $out"]
        for number in range(60):
            needs = " ".join(f"out/{n}" for n in (number // 2, number // 3) if n < number)
            lines.append(f"build out/{number}: make source {needs}")
        lines += ["build few: phony out/5", "default out/59 out/58", ""]
        with open(os.path.join(where, "build.ninja"), "w") as file:
            file.write("\n".join(lines))
        with open(os.path.join(where, "source"), "w"):
            pass

    def loads(self):
        return [Load("-n", ["-n", "-v", "-d", "explain"]), Load("-j 1", ["-j", "1", "few"])]


PROGRAMS = {program.name: program for program in (Lua, Minigzip, Pigz, Compress, Dash, Ninja)}


def write_text(path, length):
    """Words of a small vocabulary in a fixed order: text-like, the same on every machine."""
    seed, words, size = 42, [], 0
    while size < length:
        seed = (seed * 1103515245 + 12345) % (1 << 31)
        word = ("call", "site", "nop", "module", "unload\n", str(seed % 1000))[(seed >> 16) % 6]
        words.append(word)
        size += len(word) + 1
    with open(path, "w") as file:
        file.write(" ".join(words)[:length])


def run(command, where=None):
    done = subprocess.run(command, cwd=where, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True)
    if done.returncode != 0:
        words = [line for line in done.stderr.splitlines() if "error" in line][:1]
        raise BuildFailed(f"{os.path.basename(command[-1])}: {command[0]} failed: "
                          f"{words[0] if words else 'status ' + str(done.returncode)}")
