# SPDX-License-Identifier: Apache-2.0
"""The programs that `scripts/bench record` measures with, each built in every way it is needed."""

import glob
import os
import shutil
import subprocess

from library_flags import LUA_FLAGS, ZLIB_FLAGS, write_lua_header

COMMON = ["-O2", "-g0", "-w", "-fno-omit-frame-pointer", "-fno-optimize-sibling-calls"]
XRAY = ["-fxray-instrument", "-fxray-instruction-threshold=1"]

# The ways to instrument. `plain` and `clang` are the builds that the others are compared with.
KINDS = {
    "plain": ("gcc", []),
    "pg": ("gcc", ["-pg"]),
    "fentry": ("gcc", ["-pg", "-mfentry"]),
    "clang": ("clang-19", []),
    "xray": ("clang-19", XRAY),
}


class BuildFailed(Exception):
    """A load that cannot be built; the text is one line."""


class Loads:
    """Builds loads from `root`/scripts/bench-load and the libraries' `sources` into `folder`."""

    def __init__(self, root, sources, folder):
        self.own = os.path.join(root, "scripts", "bench-load")
        self.sources = sources
        self.folder = folder
        self.missing = {}
        if shutil.which("clang-19") is None:
            self.missing["clang"] = self.missing["xray"] = "clang-19 could not be installed"

    def path(self, load, kind):
        return os.path.join(self.folder, f"{load}-{kind}")

    def build_all(self):
        """Builds everything; a kind that fails for the lack of a compiler goes to `missing`."""
        self.run(["gcc", "-O2", self._own("measure.c"), "-o", self.path("measure", "plain")])
        self.run(["gcc", "-O2", "-fPIC", "-shared", self._own("no_gprof.c"),
                   "-o", self.path("no_gprof", "so")])
        for kind in KINDS:
            if kind in self.missing:
                continue
            try:
                self._build_kind(kind)
            except BuildFailed as error:
                if kind not in ("clang", "xray"):
                    raise
                self.missing[kind] = str(error)

    def _build_kind(self, kind):
        compiler, flags = KINDS[kind]
        command = [compiler, *COMMON, *flags]
        link = ["-pthread", "-lm"] + self._xray_object(kind)
        for load in ("tiny", "fib", "trivial"):
            self.run([*command, self._own(load + ".c"), "-o", self.path(load, kind), *link])
        self._build_lua(kind, command, link)
        self._build_compress(kind, command, link)

    def _xray_object(self, kind):
        if kind != "xray":
            return []
        target = os.path.join(self.folder, "xray.o")
        self.run(["clang-19", "-O2", "-c", self._own("xray.c"), "-o", target])
        return [target, "-Wl,--wrap=main"]

    def _build_lua(self, kind, command, link):
        source = os.path.join(self.sources, "lua5.4", "src")
        include = os.path.join(self.folder, "include")
        write_lua_header(include)
        files = [f for f in glob.glob(source + "/*.c") if os.path.basename(f) != "luac.c"]
        self.run([*command, *LUA_FLAGS, "-I" + include, "-I" + source, *sorted(files),
                  "-o", self.path("lua", kind), *link])

    def _build_compress(self, kind, command, link):
        source = os.path.join(self.sources, "zlib")
        driver = os.path.join(self.folder, "compress.o")
        self.run([command[0], *COMMON, "-c", "-I" + source, self._own("compress.c"), "-o", driver])
        files = sorted(glob.glob(source + "/*.c"))
        self.run([*command, *ZLIB_FLAGS, "-I" + source, driver, *files,
                  "-o", self.path("compress", kind), *link])

    def _own(self, name):
        return os.path.join(self.own, name)

    def run(self, command):
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            words = [line for line in done.stderr.splitlines() if "error" in line][:1]
            raise BuildFailed(f"{os.path.basename(command[-1])}: {command[0]} failed: "
                              f"{words[0] if words else 'status ' + str(done.returncode)}")
