// SPDX-License-Identifier: Apache-2.0
// libdw of elfutils, from Debian's or Ubuntu's libdw-dev.
#if !__has_include(<elfutils/libdw.h>)
#error "nopscope needs libdw-dev: run scripts/test or scripts/demo, or apt-get install libdw-dev"
#endif
#include <dwarf.h>
#include <elfutils/libdw.h>
