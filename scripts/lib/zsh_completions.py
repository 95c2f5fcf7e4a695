# SPDX-License-Identifier: Apache-2.0
#
# usage: zsh_completions.py FOLDER LINE
#
# Prints what zsh offers for LINE, one word per line, with FOLDER first in its fpath. zsh completes
# only while its line editor runs. So this gives it a terminal, the line, and a key bound to a
# widget that lists the matches and writes them between two marks.

import os, pty, select, shlex, shutil, sys, tempfile, time

SETUP = r"""
unsetopt beep zle_bracketed_paste
PS1=''
fpath=(%(folder)s $fpath)
autoload -Uz compinit && compinit -u -d %(scratch)s/dump
# All completion functions end here. -O, -A and -D only ask which words would match.
function compadd {
  [[ ${@[1,(i)(-|--)]} == *-(O|A|D)\ * ]] && { builtin compadd "$@"; return }
  local -a matching
  builtin compadd -A matching "$@"
  print -rl -- $matching >>%(words)s
  builtin compadd "$@"
}
zle -C list-matches list-choices _main_complete
function list-and-say { zle list-matches; print END-OF-WORDS >>%(words)s }
zle -N list-and-say
bindkey '^X^X' list-and-say
print READY
"""


def read_until(terminal, is_enough, seconds=30):
    """Reads the terminal, so that the shell does not wait, until is_enough(all that was read)."""
    text, end = "", time.monotonic() + seconds
    while not is_enough(text):
        left = end - time.monotonic()
        if left <= 0:
            sys.exit("zsh did not answer: " + text[-500:])
        if select.select([terminal], [], [], min(left, 0.2))[0]:
            text += os.read(terminal, 65536).decode(errors="replace")


def main(folder, line):
    scratch = tempfile.mkdtemp()
    words = os.path.join(scratch, "words")
    open(words, "w").close()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="dumb", HOME=scratch, ZDOTDIR=scratch)
        os.execlp("zsh", "zsh", "-f", "-i")
    setup = SETUP % {"folder": shlex.quote(folder), "scratch": scratch, "words": words}
    path = os.path.join(scratch, "setup")
    with open(path, "w") as file:
        file.write(setup)
    os.write(terminal, f"source {shlex.quote(path)}\n".encode())
    read_until(terminal, lambda text: "READY" in text.split("\n", 1)[-1])
    os.write(terminal, line.encode() + b"\x18\x18")
    read_until(terminal, lambda _: "END-OF-WORDS" in open(words).read())
    os.write(terminal, b"\x03")
    os.close(terminal)
    os.waitpid(pid, 0)
    print(open(words).read().replace("END-OF-WORDS\n", ""), end="")
    shutil.rmtree(scratch)


main(*sys.argv[1:])
