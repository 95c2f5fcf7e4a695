-- SPDX-License-Identifier: Apache-2.0
--
-- What scripts/check-record lets Lua do: calls, strings, tables, sorting, collection, and what
-- leaves C functions without returning from them: errors through pcall, yields through coroutines.

local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end
print(fib(16))

local lines = {}
for i = 1, 400 do lines[i] = string.format("%05d %x %s", i, i * 7, "key" .. i % 17) end
local text = table.concat(lines, "\n")
print(#text, (text:gsub("key(%d+)", function(n) return n * 2 end)):sub(1, 40))

local seed, values = 42, {}
for i = 1, 500 do
  seed = (seed * 1103515245 + 12345) % 2147483648
  values[i] = seed
end
table.sort(values, function(a, b) return a > b end)
print(values[1], values[#values])

local function thrower(depth)
  if depth == 0 then error({code = 7}) end
  return 1 + thrower(depth - 1)
end
for depth = 1, 20 do
  local ok, problem = pcall(thrower, depth)
  assert(not ok and problem.code == 7)
end

local generator = coroutine.wrap(function()
  for i = 1, 50 do
    pcall(function() coroutine.yield(i) end)
  end
end)
local sum = 0
for _ = 1, 50 do sum = sum + generator() end
print(sum)

local class = {}
class.__index = class
class.__lt = function(a, b) return a.n < b.n end
class.__gc = function() end
for i = 1, 300 do setmetatable({n = i}, class) end
collectgarbage()
print(load("return 6 * 7")(), select("#", table.unpack(values)))
