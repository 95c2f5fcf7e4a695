# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Fetches Debian's and Ubuntu's source packages with its own package lists and without a change to
# the system: it turns the machine's configured mirrors, in either format, into source entries of a
# private apt. Sourced after setup.sh.

# Turns one-line entries ("deb [options] URI SUITE COMPONENT...") into deb-src entries. Skips third
# parties' lists: they have neither main nor universe, and no sources that are needed.
one_line_sources() { # FILE
  awk '
    { sub(/#.*/, "") }
    /^deb[ \t]/ && !/cdrom:/ && / (main|universe)( |$)/ && !/-(backports|proposed)[ \t]/ {
      sub(/^deb/, "deb-src"); print
    }' "$1"
}

# Turns deb822 stanzas into stanzas of source entries, with their keys and options.
deb822_sources() { # FILE
  awk '
    BEGIN { RS = ""; FS = "\n" }
    {
      enabled = 1; is_binary = 0; wanted = 0; count = 0; name = ""
      for (i = 1; i <= NF; i++) {
        if ($i ~ /^#/) continue
        # A line that begins with a space continues the field above it.
        if ($i ~ /^[ \t]/) { if (count) fields[count] = fields[count] "\n" $i; continue }
        fields[++count] = $i
      }
      for (i = 1; i <= count; i++) {
        name = tolower(fields[i]); sub(/:.*/, "", name)
        value = fields[i]; sub(/^[^:]*:/, "", value)
        if (name == "enabled" && value ~ /(no|false|off|0)/) enabled = 0
        if (name == "types") { if ((value " ") ~ /deb[ \t\n]/) is_binary = 1; fields[i] = "Types: deb-src" }
        if (name == "components" && (value " ") ~ /[ \t\n](main|universe)[ \t\n]/) wanted = 1
        if (name == "suites") {
          gsub(/[^ \t\n]*-(backports|proposed)/, "", fields[i])
          if (fields[i] !~ /:[ \t\n]*[^ \t\n]/) enabled = 0
        }
        if (name == "uris" && value ~ /cdrom:/) enabled = 0
      }
      if (!enabled || !is_binary || !wanted) next
      for (i = 1; i <= count; i++) print fields[i]
      print ""
    }' "$1"
}

# Lays out the private apt in DIRECTORY and leaves its options in `private_apt`.
make_private_apt() { # DIRECTORY
  local list parts file
  mkdir -p "$1/sources.d" "$1/lists/partial" "$1/cache/archives/partial"
  rm -f "$1"/sources.d/*
  eval "$(apt-config shell list Dir::Etc::sourcelist/f parts Dir::Etc::sourceparts/d)"
  for file in "$list" "$parts"/*.list "$parts"/*.sources; do
    [[ -r $file ]] || continue
    case $file in
      *.sources) deb822_sources "$file" ;;
      *) one_line_sources "$file" ;;
    esac >"$1/sources.d/${file##*/}"
    [[ -s $1/sources.d/${file##*/} ]] || rm -f "$1/sources.d/${file##*/}"
  done
  # apt reads this after the system's configuration, whose proxies and mirrors stay in force. The
  # system's hooks would touch its own lists; its sandbox user may not be able to enter this
  # directory.
  cat >"$1/apt.conf" <<CONFIGURATION
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Sandbox::User "$(id -un)";
Dir::Etc::sourcelist "/dev/null";
Dir::Etc::sourceparts "$1/sources.d";
Dir::State::lists "$1/lists";
Dir::Cache "$1/cache";
Acquire::Languages "none";
Acquire::Retries "2";
CONFIGURATION
  private_apt=(-c "$1/apt.conf" -q)
}

# fetch_sources DIRECTORY PACKAGE...: leaves the unpacked, patched sources in DIRECTORY/PACKAGE and
# the version of each in DIRECTORY/PACKAGE.version.
fetch_sources() {
  local directory=$1
  shift
  mkdir -p "$directory"
  directory=$(cd "$directory" && pwd)
  make_private_apt "$directory/apt"
  fetch_with_private_apt "$directory" "$@"
}

# The same for one package, unless it is there already. A failure is a status: it ends only the
# subshell.
fetch_once() { # DIRECTORY PACKAGE
  [[ ! -s $1/$2.version ]] || return 0
  (fetch_sources "$1" "$2")
}

# The same as fetch_sources for a suite of Debian that is not the machine's own: fetch_sources_of_suite DIRECTORY
# SUITE PACKAGE...
fetch_sources_of_suite() {
  local directory=$1 suite=$2 file
  shift 2
  mkdir -p "$directory"
  directory=$(cd "$directory" && pwd)
  make_private_apt "$directory/apt-$suite"
  for file in "$directory/apt-$suite/sources.d"/*; do
    # Folders of security updates lack that suite. Entries of either format name the suite once.
    sed -i -E -e "s/^(Suites:).*/\1 $suite/" \
      -e "s/^(deb-src[ \t]+(\[[^]]*\][ \t]+)?[^ \t]+[ \t]+)[^ \t]+/\1$suite/" "$file"
  done
  fetch_with_private_apt "$directory" "$@"
}

fetch_with_private_apt() { # DIRECTORY PACKAGE...
  local directory=$1 package log
  shift
  mkdir -p "$directory/downloads"
  log="$directory/apt.log"
  grep -qs . "${private_apt[1]%/*}"/sources.d/* ||
    die "no Debian or Ubuntu mirror is configured in /etc/apt/sources.list or sources.list.d:" \
      "the sources of $* come from there"
  say "fetching the sources of $*"
  apt-get "${private_apt[@]}" update </dev/null >"$log" 2>&1 || true
  for package in "$@"; do
    [[ $(apt-cache "${private_apt[@]}" showsrc "$package" 2>/dev/null) == *Package:* ]] || {
      sed -n '/^\(E\|W\|Err\):/p' "$log" | tail -n 5 >&2
      die "the configured mirrors offer no source of $package: no network, or a mirror without" \
        "sources (apt's own words are above; all of them in $log)"
    }
    unpack_source "$directory" "$package" >>"$log" 2>&1 || {
      tail -n 5 "$log" >&2
      die "fetching and unpacking the source of $package failed (all of apt's words: $log)"
    }
  done
}

# The newest version whose files are there: a mirror may list an update that it does not have.
download_source() { # DIRECTORY PACKAGE
  local version
  while read -r version; do
    rm -rf "$1/downloads/$2"
    mkdir -p "$1/downloads/$2"
    (cd "$1/downloads/$2" &&
      apt-get "${private_apt[@]}" source --download-only --only-source "$2=$version") </dev/null &&
      return
  done < <(apt-cache "${private_apt[@]}" showsrc "$2" | sed -n 's/^Version: //p' | sort -rVu)
  return 1
}

unpack_source() { # DIRECTORY PACKAGE
  local description
  rm -rf "${1:?}/$2"
  download_source "$1" "$2" || return
  description=$(ls "$1/downloads/$2"/*.dsc) || return
  # apt has checked the signed index and, with it, these files' hashes.
  dpkg-source --no-check -x "$description" "$1/$2" || return
  sed -n 's/^Version: //p' "$description" | head -n 1 >"$1/$2.version"
}
