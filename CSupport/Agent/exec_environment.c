// SPDX-License-Identifier: Apache-2.0
//
// The environment of the programs that this one starts. A program that gives its child an
// environment of its own takes the agent from it without knowing. So the child gets the two
// variables back, where that does no harm:
//
//   - where the environment names another recorder, or switches the agent off, it is left alone;
//   - a program of another machine, or with another loader than glibc's, would not be traced, and its
//     loader might complain: it gets what it was given.
//
// All of this may run in a child that shares its parent's memory (vfork), and in a signal handler: no
// allocation but on the stack or in pages, no state that changes.

#include <elf.h>

#include "agent.h"
#include "syscalls.h"

enum { LONGEST_PATH = 4096 };

static const char preload_name[] = "LD_PRELOAD=";
static char agent_variable[sizeof NREC_ENVIRONMENT + sizeof nag_config.socket_path];
static char preload_variable[sizeof preload_name + LONGEST_PATH];

static size_t length_of(const char *text) {
  size_t length = 0;
  while (text[length] != 0) length++;
  return length;
}

static char *append(char *to, const char *text) {
  size_t length = length_of(text);
  nag_copy(to, text, length + 1);
  return to + length;
}

const char *nag_environment_value(const char *variable, const char *name) {
  while (*name != 0 && *variable == *name) variable++, name++;
  return *name == 0 ? variable : NULL;
}

static const char *own_path(void) { return preload_variable + sizeof preload_name - 1; }

bool nag_environment_prepare(const char *path) {
  if (length_of(path) >= LONGEST_PATH) return false;
  append(append(append(agent_variable, NREC_ENVIRONMENT), "="), nag_config.socket_path);
  append(append(preload_variable, preload_name), path);
  return true;
}

// Whether a list as LD_PRELOAD has it, which spaces and colons separate, names the agent.
static bool names_agent(const char *list) {
  while (*list != 0) {
    const char *own = own_path();
    while (*own != 0 && *list == *own) list++, own++;
    if (*own == 0 && (*list == 0 || *list == ' ' || *list == ':')) return true;
    while (*list != 0 && *list != ' ' && *list != ':') list++;
    while (*list == ' ' || *list == ':') list++;
  }
  return false;
}

nag_environment nag_environment_look(char *const *variables) {
  nag_environment found = {.variables = variables};
  bool has_recorder = false, has_agent = false;
  if (preload_variable[0] == 0) return found;
  for (; variables != NULL && variables[found.count] != NULL; found.count++) {
    const char *recorder = nag_environment_value(variables[found.count], NREC_ENVIRONMENT "=");
    const char *preload = nag_environment_value(variables[found.count], preload_name);
    if (recorder != NULL) {
      has_recorder = nag_environment_value(recorder, nag_config.socket_path) != NULL &&
                     length_of(recorder) == length_of(nag_config.socket_path);
      found.is_others = !has_recorder;
    }
    if (preload == NULL) continue;
    has_agent = names_agent(preload);
    if (!has_agent) found.preload = preload;
  }
  if (found.is_others || (has_recorder && has_agent)) return found;
  // Both variables, the end, and the text of a list that names the agent and what was there.
  found.bytes = (found.count + 3) * sizeof(char *);
  if (found.preload != NULL)
    found.bytes += length_of(preload_variable) + 1 + length_of(found.preload) + 1;
  return found;
}

char *const *nag_environment_mend(const nag_environment *given, void *memory) {
  char **all = memory, *preload = preload_variable;
  size_t kept = 0;
  if (given->preload != NULL) {
    preload = (char *)(all + given->count + 3);
    append(append(append(preload, preload_variable), ":"), given->preload);
  }
  for (size_t i = 0; i < given->count; i++) {
    char *variable = given->variables[i];
    bool is_ours = nag_environment_value(variable, NREC_ENVIRONMENT "=") || nag_environment_value(variable, preload_name);
    if (!is_ours) all[kept++] = variable;
  }
  all[kept++] = preload;
  all[kept++] = agent_variable;
  all[kept] = NULL;
  return all;
}

// --- what would not load the agent
// ---------------------------------------------------------------------------------------

static bool has_other_loader(int64_t file, const Elf64_Ehdr *header) {
  Elf64_Phdr segment;
  char name[256];
  for (uint32_t i = 0; i < header->e_phnum && i < 64; i++) {
    uint64_t at = header->e_phoff + i * sizeof segment;
    if (NAG_CALL(SYS_pread64, file, &segment, sizeof segment, at) != sizeof segment) return false;
    if (segment.p_type != PT_INTERP) continue;
    int64_t length = NAG_CALL(SYS_pread64, file, name, sizeof name - 1, segment.p_offset);
    name[length > 0 ? length : 0] = 0;
    for (const char *at_name = name; *at_name != 0; at_name++)
      if (nag_environment_value(at_name, "ld-musl") != NULL) return true;
    return false;
  }
  return true;  // static
}

bool nag_environment_may_help(const char *program) {
  int64_t file = NAG_CALL(SYS_open, program, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return true;  // it may be executed and not read: its loader decides
  Elf64_Ehdr header = {0};
  int64_t length = NAG_CALL(SYS_pread64, file, &header, sizeof header, 0);
  bool is_elf = length >= EI_NIDENT && __builtin_memcmp(header.e_ident, ELFMAG, SELFMAG) == 0;
  bool is_refused = is_elf && (length < (int64_t)sizeof header ||
                               header.e_ident[EI_CLASS] != ELFCLASS64 ||
                               header.e_machine != EM_X86_64 || has_other_loader(file, &header));
  NAG_CALL(SYS_close, file);
  return !is_refused;
}
