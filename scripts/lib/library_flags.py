# SPDX-License-Identifier: Apache-2.0
"""How Lua and zlib of Debian's sources are compiled, whatever they are built for."""

import os

LUA_FLAGS = ["-std=gnu99", "-DLUA_COMPAT_5_3", "-DLUA_USE_POSIX"]
ZLIB_FLAGS = ["-DHAVE_UNISTD_H", "-D_LARGEFILE64_SOURCE"]


def write_lua_header(folder):
    """Debian's build writes this header, which its luaconf.h includes, from debian/rules."""
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "lua5.4-deb-multiarch.h"), "w") as header:
        header.write('#define DEB_HOST_MULTIARCH "x86_64-linux-gnu"\n')
