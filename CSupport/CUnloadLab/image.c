// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "image.h"

#include <dlfcn.h>
#include <stddef.h>

const char *nul_image_path(void) {
  Dl_info info;
  return dladdr((void *)nul_image_path, &info) ? info.dli_fname : NULL;
}
