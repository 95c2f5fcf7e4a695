// SPDX-License-Identifier: Apache-2.0
//
// The work that a corpus library does before, during and after it is patched: a Lua state of its
// own runs one script to its end. This file is built into the shared object beside Lua's own files.

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

long nopscope_workload(void);

// Calls, tables, strings, patterns, sorting, closures, coroutines, errors and the collector. It
// uses nothing that differs from run to run (addresses, the clock, the order of pairs()), so that
// equal results mean equal work.
static const char script[] =
    "local checksum = 0\n"
    "local function mix(value) checksum = (checksum * 31 + value) % 2147483647 end\n"
    "\n"
    "local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end\n"
    "mix(fib(24))\n"
    "\n"
    "local lines = {}\n"
    "for i = 1, 2000 do\n"
    "  lines[i] = string.format('%05d %x %s %.3f', i, i * 7, 'key' .. i % 17, i / 3)\n"
    "end\n"
    "local text = table.concat(lines, '\\n')\n"
    "for i = 1, #text, 7 do mix(text:byte(i)) end\n"
    "\n"
    "local replaced, count = text:gsub('key(%d+)', function(n) return '<' .. n * 2 .. '>' end)\n"
    "mix(count) mix(#replaced)\n"
    "for word in replaced:gmatch('<(%d+)>') do mix(tonumber(word)) end\n"
    "\n"
    "local seed, values = 42, {}\n"
    "for i = 1, 5000 do seed = (seed * 1103515245 + 12345) % 2147483648 values[i] = seed end\n"
    "table.sort(values)\n"
    "for i = 1, #values, 13 do mix(values[i]) end\n"
    "table.sort(lines, function(a, b) return a:reverse() < b:reverse() end)\n"
    "for i = 1, #lines, 11 do mix(#lines[i] + lines[i]:byte(-1)) end\n"
    "\n"
    "local account = setmetatable({}, {__index = function(_, k) return #k end,\n"
    "  __add = function(a, b) return 7 end, __call = function(_, x) return x + 1 end})\n"
    "for i = 1, 3000 do\n"
    "  mix(account(i) + #('x'):rep(i % 50) + (account + account) + account.name)\n"
    "end\n"
    "\n"
    "local producer = coroutine.wrap(function()\n"
    "  for i = 1, 3000 do coroutine.yield(i * i) end\n"
    "end)\n"
    "for _ = 1, 3000 do mix(producer() % 65521) end\n"
    "for i = 1, 500 do\n"
    "  local ok, why = pcall(function()\n"
    "    if i % 2 == 0 then error('even ' .. i, 0) end\n"
    "    return i\n"
    "  end)\n"
    "  mix(ok and why or #why)\n"
    "end\n"
    "local chunk = load('local a, b = ... return a * b + #(\"x\" .. a)')\n"
    "for i = 1, 500 do mix(chunk(i, i + 1)) end\n"
    "mix(#string.pack('<i4d s2', 7, 0.5, 'tail')) mix(utf8.len('na\\u{ef}ve'))\n"
    "lines, values, replaced = nil, nil, nil\n"
    "collectgarbage()\n"
    "return checksum\n";

/// Runs the script; its checksum, or a negative number: -1 no memory, -2 the script failed.
long nopscope_workload(void) {
  lua_State *state = luaL_newstate();
  if (state == NULL) return -1;
  luaL_openlibs(state);
  long result = -2;
  if (luaL_loadbuffer(state, script, sizeof script - 1, "=workload") == LUA_OK &&
      lua_pcall(state, 0, 1, 0) == LUA_OK)
    result = (long)lua_tointeger(state, -1);
  lua_close(state);
  return result;
}
