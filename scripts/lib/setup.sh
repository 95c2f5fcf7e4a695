# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what a fresh Debian or Ubuntu needs before this package builds and its tests run. The
# scripts beside it source it. It is idempotent: it looks for the things themselves (a command, a
# header, a library) and asks the package manager only for what is missing. So it takes about a
# second when nothing is missing, and works on other distributions that have the things already.
#
# All its messages go to stderr. If it fails, it exits with status 125: "we failed before it ran".

# Used by the scripts that source this.
# shellcheck disable=SC2034
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
readonly swift_minimum=6.1

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

die() {
  say "$@"
  exit 125
}

# The packages still to be installed, and why, each once and in order.
missing_packages=()
missing_reasons=()

# want PACKAGE REASON: notes that a Debian package is to be installed.
want() {
  local package
  for package in "${missing_packages[@]+"${missing_packages[@]}"}"; do
    [[ $package != "$1" ]] || return 0
  done
  missing_packages+=("$1")
  missing_reasons+=("$1 ($2)")
}

need_command() { # COMMAND PACKAGE
  command -v "$1" >/dev/null || want "$2" "$1"
}

need_platform() {
  local system machine
  system=$(uname -s) machine=$(uname -m)
  [[ $system == Linux ]] || die "nopscope patches live code on Linux; this is $system"
  [[ $machine == x86_64 ]] || die "nopscope patches x86-64 machine code; this machine is $machine"
}

# Other programs are called swift too (OpenStack's): only what answers as the compiler counts.
swift_version_of() { # COMMAND
  "$1" --version 2>/dev/null </dev/null | sed -n 's/.*Swift version \([0-9][0-9.]*\).*/\1/p' | head -n 1
}

is_at_least() { # VERSION MINIMUM
  [[ $(printf '%s\n' "$1" "$2" | sort -V | head -n 1) == "$2" ]]
}

# A toolchain is a tarball, so the libraries that its programs load may not be installed.
swift_missing_libraries() { # DIRECTORY
  local program
  for program in swift-package swift-frontend; do
    [[ -x $1/$program ]] || continue
    ldd "$1/$program" 2>/dev/null | sed -n 's/^[[:space:]]*\([^ ]*\) => not found.*/\1/p'
  done | sort -u
}

need_swift_libraries() { # DIRECTORY
  local library unknown=''
  for library in $(swift_missing_libraries "$1"); do
    case $library in
      libcurl.so.4) want libcurl4 "$library of the Swift toolchain" ;;
      libxml2.so.2) want libxml2 "$library of the Swift toolchain" ;;
      libsqlite3.so.0) want libsqlite3-0 "$library of the Swift toolchain" ;;
      libncurses.so.6 | libtinfo.so.6) want libncurses6 "$library of the Swift toolchain" ;;
      libuuid.so.1) want libuuid1 "$library of the Swift toolchain" ;;
      libz.so.1) want zlib1g "$library of the Swift toolchain" ;;
      libstdc++.so.6 | libgcc_s.so.1) want libstdc++6 "$library of the Swift toolchain" ;;
      *) unknown+=" $library" ;;
    esac
  done
  [[ -z $unknown ]] || say "the Swift toolchain in $1 lacks$unknown:" \
    "https://www.swift.org/install/linux/ names the packages of your distribution"
}

# Where the installers of swift.org and the distributions put the toolchain, when PATH has none.
need_swift() {
  local candidate version directory found=''
  for candidate in ${SWIFT_TOOLCHAIN:+"$SWIFT_TOOLCHAIN/usr/bin/swift"} swift \
    "$HOME/.local/share/swiftly/bin/swift" "$HOME/.swiftly/bin/swift" \
    /usr/share/swift/usr/bin/swift /usr/libexec/swift/bin/swift; do
    candidate=$(command -v "$candidate") || continue
    # Behind a link (in /usr/bin, say): the compilers that came with the toolchain.
    directory=$(dirname "$(readlink -f "$candidate")")
    need_swift_libraries "$directory"
    install_missing
    version=$(swift_version_of "$candidate")
    if [[ -z $version ]] || ! is_at_least "$version" "$swift_minimum"; then
      found="$candidate is ${version:+Swift }${version:-no Swift compiler that starts}; "
      continue
    fi
    [[ $(command -v swift) == "$candidate" ]] || PATH="$(dirname "$candidate"):$PATH"
    command -v clang >/dev/null || [[ ! -x $directory/clang ]] || PATH="$PATH:$directory"
    export PATH
    return 0
  done
  die "${found:-no Swift compiler found; }this package needs Swift $swift_minimum or later, which" \
    "apt does not have.
  Install it with swiftly, swift.org's installer: https://www.swift.org/install/linux/
  or unpack a toolchain from there and name its place: SWIFT_TOOLCHAIN=DIR, where DIR/usr/bin/swift
  is. Then run this again."
}

need_build_tools() {
  need_command gcc gcc
  need_command pkg-config pkg-config
  need_command git git
  need_command clang clang
  # libNopscopeTrampolines has a segment of 4 GiB. gold refuses that.
  need_command ld.bfd binutils
  need_command objcopy binutils
  # The tests compress symbols as Fedora's packages have them.
  need_command xz xz-utils
  # The linker that Swift calls by default has had a package of its own since Debian 13.
  command -v ld.gold >/dev/null || want binutils-gold ld.gold
  [[ -e /usr/include/unistd.h ]] || want libc6-dev 'C headers'
  # Swift's static runtime links the C++ library that comes with the system's compiler.
  command -v g++ >/dev/null || want g++ libstdc++
  [[ -e /etc/ssl/certs/ca-certificates.crt || -e /etc/pki/tls/certs/ca-bundle.crt ]] ||
    want ca-certificates 'fetching the Swift packages'
  pkg-config --exists capstone 2>/dev/null || want libcapstone-dev 'the disassembler'
  pkg-config --exists libdw 2>/dev/null || want libdw-dev 'the reader of DWARF'
}

# Leaves `as_root` holding the words to put before a command that needs root.
find_root() {
  as_root=()
  [[ $(id -u) != 0 ]] || return 0
  command -v sudo >/dev/null || return 1
  # Without a terminal nobody can type a password.
  if [[ -t 0 || -t 2 ]]; then as_root=(sudo); else as_root=(sudo -n); fi
  "${as_root[@]}" true 2>/dev/null
}

# Debian 12 and Ubuntu 24.04 have gold inside binutils.
settle_gold() {
  local index
  for index in "${!missing_packages[@]}"; do
    [[ ${missing_packages[index]} == binutils-gold ]] || continue
    apt-cache show binutils-gold >/dev/null 2>&1 || missing_packages[index]=binutils
  done
}

install_missing() {
  ((${#missing_packages[@]} > 0)) || return 0
  local names="${missing_packages[*]}" log status=0
  say "missing: $(printf '%s, ' "${missing_reasons[@]}" | sed 's/, $//')"
  command -v apt-get >/dev/null ||
    die "this system has no apt-get: install its packages of $names (Debian's names), then run this again"
  find_root ||
    die "installing needs root, and this user has no sudo that answers: let an administrator run
    apt-get install $names
  then run this again"
  say "installing with apt-get: $names"
  log=$(mktemp)
  "${as_root[@]+"${as_root[@]}"}" apt-get update </dev/null >"$log" 2>&1 ||
    say "apt-get update failed, going on with the lists that are there: $(grep '^E:' "$log" | head -n 1)"
  settle_gold
  "${as_root[@]+"${as_root[@]}"}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y --no-install-recommends "${missing_packages[@]}" </dev/null >"$log" 2>&1 ||
    status=$?
  if ((status != 0)); then
    tail -n 15 "$log" >&2
    rm -f "$log"
    die "apt-get install $names failed with status $status: its last lines are above"
  fi
  rm -f "$log"
  missing_packages=()
  missing_reasons=()
}

# All products that recording needs: without the library of trampolines beside the agent, no return
# is hooked. SwiftPM cannot make one product of this package build another without linking the two.
# shellcheck disable=SC2034  # used by the scripts that source this
readonly recorder_products=(nopscope NopscopeAgent NopscopeTrampolines)

# Builds one product after the other, so that nothing else is built.
build_products() { # CONFIGURATION PRODUCT...
  local configuration=$1 product
  shift
  for product; do
    swift build --package-path "$root" -c "$configuration" --product "$product" </dev/null >&2 ||
      die "the build of $product failed"
  done
}

# Installs all that building and testing need. Call need_command before it for further needs.
setup() {
  need_platform
  need_swift
  need_build_tools
  install_missing
  pkg-config --exists capstone || die "pkg-config finds no capstone although libcapstone-dev is there"
  pkg-config --exists libdw || die "pkg-config finds no libdw although libdw-dev is there"
  # The compiler needs the machine's C library. Reported here, a lack of it is not a page of errors.
  swift package --version >/dev/null 2>&1 </dev/null ||
    die "swift package does not start: $(swift package --version 2>&1 </dev/null | head -n 1)"
}
