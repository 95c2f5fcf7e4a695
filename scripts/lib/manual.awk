# SPDX-License-Identifier: Apache-2.0
#
# usage: awk -f manual.awk -v release='nopscope 0.4.0' [-v commands=FILE] PAGE
#
# Rewrites a page of the argument parser's generate-manual in mdoc(7)'s form, to stdout.
#
# - The generator knows a command's discussion as one text. In ours, paragraphs headed EXAMPLES and
#   EXIT STATUS end it. They become the sections of that name, line by line, in place of the
#   generator's own sentence on exit statuses.
# - The generator joins the names of commands by dots. nopscope.record(1) becomes
#   nopscope-record(1), where man(1) looks for `man nopscope record`.
# - commands: a file with a line for each command, its name, a tab and what it does. It becomes the
#   section COMMANDS.

function dashed(title) { gsub(/\./, "-", title); return title }

# A shell must accept what a terminal shows, but roff makes - and ' typographic.
function exact(text) {
  gsub(/'/, "\\(aq", text); gsub(/`/, "\\(ga", text); gsub(/\^/, "\\(ha", text)
  gsub(/~/, "\\(ti", text); gsub(/-/, "\\-", text)
  return text
}

function literal(title, lines) {
  if (lines == "") return
  print ".Sh " title
  printf ".Bd -literal\n%s.Ed\n", lines
}

function list_commands(   line, parts) {
  if (commands == "") return
  print ".Sh COMMANDS\n.Bl -tag -width 14n"
  while ((getline line < commands) > 0) {
    split(line, parts, "\t")
    print ".It Ic " parts[1] "\n" exact(parts[2]) "."
  }
  print ".El"
}

/^\.\\"/ { print ".\\\" Made by the argument parser's generate-manual and scripts/lib/manual.awk."; next }
/^\.Dt / { print ".Dt " dashed($2) " " $3; next }
/^\.Os/ { print ".Os " release; next }

/^\.Sh/ { heading = $0; block = ""; is_break = 0 }
heading ~ /NAME/ && /^\.Nm/ {
  name = $0
  sub(/^\.Nm "?/, "", name); sub(/"$/, "", name)
  page = name; gsub(/ /, "-", page)
  print ".Nm " page
  next
}
heading ~ /NAME/ && /^\.Nd/ { sub(/\."$/, "\"") }
heading ~ /SYNOPSIS/ && /^\.Nm/ { print ".Nm \"" name "\""; next }

heading ~ /EXIT STATUS/ { next }
heading ~ /SEE ALSO/ {
  if (/^\.Xr/) references = references ".Xr " dashed($2) substr($0, 5 + length($2)) "\n"
  next
}

/^EXAMPLES$/ || /^EXIT STATUS$/ { block = $0; is_break = 0; next }
/^\.(Bl|It|El)/ { block = ""; is_break = 0 }
block != "" && /^$/ { next }
block != "" { sub(/^  /, ""); blocks[block] = blocks[block] exact($0) "\n"; next }

# A list in columns, `perfetto    a trace`, is left as it is.
heading ~ /DESCRIPTION/ && /^[a-z_]+  +[^ ]/ {
  if (is_break) print ".Pp"
  if (!is_list) print ".Bd -literal"
  is_break = 0; is_list = 1
  print exact($0)
  next
}
is_list { print ".Ed"; is_list = 0 }

# roff has no empty lines, and a paragraph break before an item has no effect.
/^$/ || /^\.Pp$/ { is_break = 1; next }
is_break { print ".Pp"; is_break = 0 }
/^\./ { print; next }
{ print exact($0) }

END {
  list_commands()
  if (blocks["EXIT STATUS"] == "") print ".Sh \"EXIT STATUS\"\n.Ex -std \"" name "\""
  literal("\"EXIT STATUS\"", blocks["EXIT STATUS"])
  literal("EXAMPLES", blocks["EXAMPLES"])
  printf ".Sh \"SEE ALSO\"\n%s", references == "" ? ".Xr nopscope 1\n" : references
}
