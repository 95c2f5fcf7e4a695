#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: installed-check.sh NOPSCOPE
#
# Checks an installed nopscope, in a new folder: it records a program that the gcc of this machine
# compiles with -pg, counts its calls, and plays the demo, all of whose expectations must hold. It
# needs only plain sh and the few commands of a bare Debian. Exit status: 0 if all works.

set -eu

nopscope=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

fail() {
  echo "installed-check: $*" >&2
  exit 1
}

# expect_calls COUNT FUNCTION RECORDING
expect_calls() {
  found=$("$nopscope" report "$3" 2>/dev/null | awk -v name="$2" '$NF == name { print $1 }')
  [ "$found" = "$1" ] || fail "$2 of $3: expected $1 calls, found '${found:-no row}'"
}

cat >load.c <<'C'
#include <stdlib.h>
__attribute__((noinline)) int twice(int n) { return n * 2 + (int)labs(n); }
__attribute__((noinline)) int work(int n) { return twice(n) + twice(n + 1) + twice(n + 2); }
int main(void) {
  int sum = 0;
  for (int i = 0; i < 300; i++) sum ^= work(i);
  return sum & 1 ? 8 : 9;
}
C
gcc -O1 -pg -o load load.c
gcc -O1 -fpatchable-function-entry=5 -o patchable load.c
expected=0
./load || expected=$?
for program in load patchable; do
  status=0
  "$nopscope" record -o "$program.data" -- "./$program" 2>record.log || status=$?
  [ "$status" = "$expected" ] ||
    fail "record of $program: expected its status $expected, found $status: $(cat record.log)"
  expect_calls 300 work "$program.data"
  expect_calls 900 twice "$program.data"
done
# Returns are hooked only if the trampolines were found; without them there are no times.
"$nopscope" report load.data 2>/dev/null | head -n 1 | grep -q TOTAL || fail "no times in the report"
"$nopscope" info load.data | grep -q '^damage  *none' || fail "the recording is damaged"
"$nopscope" doctor ./load >doctor.log || fail "doctor: $(cat doctor.log)"
"$nopscope" demo >demo.log || fail "the demo failed: $(tail -n 20 demo.log)"
tail -n 1 demo.log
