-- SPDX-License-Identifier: Apache-2.0
--
-- usage: lua bench.lua ROUNDS
--
-- The interpreter's everyday work: calls, tables, strings, patterns, sorting, closures. Prints
-- `best NS cpu NS`, as tiny.c does; os.clock() is the process's CPU time, so both are the same.

local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end

local function strings()
  local lines = {}
  for i = 1, 4000 do lines[i] = string.format("%05d %x %s", i, i * 7, "key" .. i % 17) end
  local text, count = table.concat(lines, "\n"):gsub("key(%d+)", function(n) return n * 2 end)
  return #text + count
end

local function sorting()
  local seed, values = 42, {}
  for i = 1, 8000 do
    seed = (seed * 1103515245 + 12345) % 2147483648
    values[i] = seed
  end
  table.sort(values)
  table.sort(values, function(a, b) return a > b end)
  return values[1]
end

local function objects()
  local class = {}
  class.__index = class
  function class:add(n) self.total = self.total + n end
  local sum = 0
  for i = 1, 20000 do
    local object = setmetatable({total = i}, class)
    object:add(i)
    sum = sum + object.total
  end
  return sum
end

local best = math.huge
for _ = 1, tonumber(arg[1]) do
  collectgarbage()
  local start = os.clock()
  local sum = fib(22) + strings() + sorting() + objects()
  assert(sum > 0)
  best = math.min(best, os.clock() - start)
end
print(string.format("best %.0f cpu %.0f", best * 1e9, best * 1e9))
