// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "capstone_library.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// Measured with the headers of 4.0.2 and 5.0.7. The asserts below check the header that is here.
#define MNEMONIC_4 34
#define OPERANDS_4 66
#define DETAIL_4 232
#define X86_4 80
#define MNEMONIC_5 42
#define OPERANDS_5 74
#define DETAIL_5 240
#define X86_5 96

static const nmc_capstone_layout layouts[] = {
  {4, MNEMONIC_4, OPERANDS_4, DETAIL_4, X86_4},
  {5, MNEMONIC_5, OPERANDS_5, DETAIL_5, X86_5},
};

#if CS_API_MAJOR == 4
#define HERE(name) name##_4
#elif CS_API_MAJOR == 5
#define HERE(name) name##_5
#else
#error "nopscope knows the structures of Capstone 4 and 5; <capstone/capstone.h> is of another version"
#endif
_Static_assert(offsetof(cs_insn, mnemonic) == HERE(MNEMONIC), "layouts[]");
_Static_assert(offsetof(cs_insn, op_str) == HERE(OPERANDS), "layouts[]");
_Static_assert(offsetof(cs_insn, detail) == HERE(DETAIL), "layouts[]");
_Static_assert(offsetof(cs_detail, x86) == HERE(X86), "layouts[]");

// These are the same in both versions, so the definitions of either header will do.
_Static_assert(offsetof(cs_insn, id) == 0 && offsetof(cs_insn, size) == 16, "cs_insn's head");
_Static_assert(offsetof(cs_x86, prefix) == 0 && offsetof(cs_x86, op_count) == 64, "cs_x86");
_Static_assert(offsetof(cs_x86, operands) == 72 && sizeof(cs_x86_op) == 48, "cs_x86");
_Static_assert(offsetof(cs_x86_op, type) == 0 && offsetof(cs_x86_op, size) == 32 &&
                   offsetof(cs_x86_op, access) == 33, "cs_x86_op");
_Static_assert(X86_OP_MEM == 3 && CS_AC_READ == 1 && CS_AC_WRITE == 2, "cs_x86_op's values");
_Static_assert(X86_PREFIX_LOCK == 0xf0, "cs_x86's values");
_Static_assert(CS_ARCH_X86 == 3 && CS_MODE_64 == 8, "cs_open's arguments");
_Static_assert(CS_OPT_DETAIL == 2 && CS_OPT_ON == 3, "cs_option's arguments");

static void add_reason(char *reason, size_t size, const char *format, ...) {
  size_t length = strlen(reason);
  if (length > 0) length += (size_t)snprintf(reason + length, size - length, "; ");
  if (length >= size) return;
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(reason + length, size - length, format, arguments);
  va_end(arguments);
}

static bool find_functions(void *library, nmc_capstone *capstone) {
  const struct { const char *name; void *function; } functions[] = {
    {"cs_version", &capstone->version}, {"cs_open", &capstone->open},
    {"cs_close", &capstone->close},     {"cs_option", &capstone->option},
    {"cs_malloc", &capstone->malloc},   {"cs_free", &capstone->free},
    {"cs_strerror", &capstone->strerror}, {"cs_disasm_iter", &capstone->disasm_iter},
  };
  for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
    void *function = dlsym(library, functions[i].name);
    if (function == NULL) return false;
    memcpy(functions[i].function, &function, sizeof function);
  }
  return true;
}

static const nmc_capstone_layout *layout_of(int major) {
  for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
    if (layouts[i].major == major) return &layouts[i];
  return NULL;
}

static bool load_one(const char *name, nmc_capstone *capstone, char *reason, size_t size) {
  void *library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) {
    add_reason(reason, size, "%s", dlerror());
    return false;
  }
  int major = 0, minor = 0;
  if (!find_functions(library, capstone)) {
    add_reason(reason, size, "%s", dlerror());
  } else {
    // Ask for the version that the library itself reports, whatever its file is called.
    capstone->version(&major, &minor);
    capstone->layout = layout_of(major);
    if (capstone->layout != NULL) return true;
    add_reason(reason, size, "%s is Capstone %d.%d: expected 4 or 5", name, major, minor);
  }
  dlclose(library);
  return false;
}

bool nmc_capstone_load(const char *const *names, nmc_capstone *capstone, char *reason,
                       size_t size) {
  reason[0] = 0;
  for (; *names != NULL; names++)
    if (load_one(*names, capstone, reason, size)) return true;
  return false;
}

bool nmc_can_load_capstone(const char *const *names, char *reason, size_t size) {
  nmc_capstone capstone;
  return nmc_capstone_load(names, &capstone, reason, size);
}

// Capstone has 78,000 relocations. It is loaded when an instruction is decoded for the first time,
// so that a start of nopscope that decodes nothing (of a recording whose modules are known, say)
// does not wait for it.
static nmc_capstone shared;
static bool is_loaded;
static char shared_reason[512];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load_shared(void) {
  static const char *const names[] = {"libcapstone.so.4", "libcapstone.so.5", NULL};
  is_loaded = nmc_capstone_load(names, &shared, shared_reason, sizeof shared_reason);
}

const nmc_capstone *nmc_capstone_shared(const char **reason) {
  pthread_once(&once, load_shared);
  if (!is_loaded) *reason = shared_reason;
  return is_loaded ? &shared : NULL;
}
