# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
#
# What scripts/check-record lets dash do: functions and expansions, forks (pipes, subshells,
# substitutions), execs of itself and of a program that is not instrumented, a trap, and errors,
# which leave dash's functions by longjmp. Nothing here depends on a process's number or on time.

i=0
f() {
  i=$((i + $1))
  case $i in *7) echo "seven $i" ;; esac
}
while [ "$i" -lt 300 ]; do f 3; done

upper=$(echo hello | tr '[:lower:]' '[:upper:]')
echo "$upper ${upper%LO} ${#upper}"
(cd / && pwd && exit 4) || echo "status $?"
for word in a b c; do
  "$CORPUS_DASH" -c 'for k in 1 2 3 4 5; do :; done; exit 3' || echo "$word $?"
done
printf '%s\n' one two three | while read -r line; do echo "<$line>"; done
(eval 'unset i; : "${i:?is not set}"') 2>/dev/null || echo "status $?"
cat <<END
here $((7 * 6)) $(printf '%s\n' "nested $(pwd -P | wc -l)")
END
trap 'echo trapped' USR1
kill -USR1 $$
(trap 'echo leaving' EXIT; exit 0)
exec true
