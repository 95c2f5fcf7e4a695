// SPDX-License-Identifier: Apache-2.0
// Capstone, from Debian's or Ubuntu's libcapstone-dev.
#if !__has_include(<capstone/capstone.h>)
#error "nopscope needs libcapstone-dev: run scripts/test or scripts/demo, or apt-get install libcapstone-dev"
#endif
#include <capstone/capstone.h>
