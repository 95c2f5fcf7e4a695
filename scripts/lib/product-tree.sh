# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Makes the tree of files that scripts/install copies and scripts/package packs. Sourced after
# setup.sh, which leaves `root`.
#
#   bin/nopscope
#   lib/nopscope/                      the agent, the trampolines, the demo's specimens
#   share/man/man1/                    nopscope.1 and a page for each command
#   share/bash-completion/completions/nopscope
#   share/zsh/site-functions/_nopscope
#   share/fish/vendor_completions.d/nopscope.fish
#
# All programs and libraries are of the release build.

# `root` comes from setup.sh.
# shellcheck disable=SC2154

readonly product_libraries=(
  libNopscopeAgent.so libNopscopeTrampolines.so libSpecimen.so libSpecimenOther.so
)

# Builds the tree's parts.
build_tree() {
  build_products release "${recorder_products[@]}" Specimen SpecimenOther generate-manual
}

# `0.4.0`, as the program itself says.
product_version() { # PROGRAM
  local words
  words=$("$1" --version) || die "$1 --version failed"
  echo "${words##* }"
}

# The date of the pages is that of the last commit, so that each build of it makes the same pages.
manual_date() {
  local seconds=${SOURCE_DATE_EPOCH:-}
  [[ -n $seconds ]] || seconds=$(git -C "$root" log -1 --format=%ct 2>/dev/null) || seconds=$(date +%s)
  date -u -d "@$seconds" +%Y-%m-%d
}

# Writes a page for each command into FOLDER. The parser's own generator writes mdoc(7); manual.awk
# turns its sections into those of a manual page.
make_manual() { # PROGRAM FOLDER
  local drafts page name version
  version=$(product_version "$1")
  drafts=$(mktemp -d)
  "$root/.build/release/generate-manual" "$1" --multi-page --date "$(manual_date)" \
    --output-directory "$drafts" || die "generate-manual failed"
  for page in "$drafts"/nopscope.*.1; do
    name=${page##*/nopscope.}
    [[ $name != *.*.1 ]] || continue
    printf '%s\t%s\n' "${name%.1}" "$(sed -n 's/^\.Nd "\(.*[^.]\)\.*"$/\1/p' "$page")"
  done >"$drafts/commands"
  for page in "$drafts"/*.1; do
    name=${page##*/} name=${name%.1}
    local words=(-v "release=nopscope $version")
    [[ $name != nopscope ]] || words+=(-v "commands=$drafts/commands")
    awk -f "$root/scripts/lib/manual.awk" "${words[@]}" "$page" >"$2/${name//./-}.1"
  done
  rm -r "$drafts"
}

# Makes the tree in FOLDER, which is emptied first.
make_product_tree() { # FOLDER
  local tree=$1 built="$root/.build/release" library
  rm -rf "${tree:?}"
  mkdir -p "$tree"/{bin,lib/nopscope} "$tree"/share/{man/man1,zsh/site-functions} \
    "$tree"/share/{bash-completion/completions,fish/vendor_completions.d}
  # Half of the program is symbols and debug information. The libraries keep their symbols: the demo
  # names the functions of its specimens.
  strip -o "$tree/bin/nopscope" "$built/nopscope"
  for library in "${product_libraries[@]}"; do
    strip --strip-debug -o "$tree/lib/nopscope/$library" "$built/$library"
    chmod 644 "$tree/lib/nopscope/$library"
  done
  make_manual "$built/nopscope" "$tree/share/man/man1"
  (
    cd "$tree/share"
    program="$tree/bin/nopscope"
    "$program" --generate-completion-script bash >bash-completion/completions/nopscope
    "$program" --generate-completion-script zsh >zsh/site-functions/_nopscope
    "$program" --generate-completion-script fish >fish/vendor_completions.d/nopscope.fish
  ) || die "the completions could not be made"
  find "$tree" -type d -exec chmod 755 {} +
  find "$tree/share" -type f -exec chmod 644 {} +
}
