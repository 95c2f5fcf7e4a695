// SPDX-License-Identifier: Apache-2.0
//
// The environment of the programs that this one starts. A program that gives its child an
// environment of its own takes the agent from it without knowing. So the child gets the two
// variables back, where that does no harm:
//
//   - where the environment names another recorder, or switches the agent off, it is left alone;
//   - a program of another machine, with another loader than glibc's or with more rights would not be
//     traced, and its loader might complain: it gets what it was given.
//
// A third variable says that they were given back. Then the child's agent takes all three out of its
// `environ`: a program that was given an empty environment finds it empty.
//
// All of this may run in a child that shares its parent's memory (vfork), and in a signal handler: no
// allocation but on the stack or in pages, no state that changes.

#include <elf.h>
#include <sys/stat.h>

#include "agent.h"
#include "syscalls.h"

enum { LONGEST_PATH = 4096, MOST_ADDED = 4 };

static const char preload_name[] = "LD_PRELOAD=";
static char given_variable[] = "NOPSCOPE_GIVEN=1";
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

static bool is_ours(const char *variable) {
  return nag_environment_value(variable, NREC_ENVIRONMENT "=") != NULL ||
         nag_environment_value(variable, given_variable) != NULL;
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
  // The three variables, the end, and the text of a list that names the agent and what was there.
  found.bytes = (found.count + MOST_ADDED) * sizeof(char *);
  if (found.preload != NULL)
    found.bytes += length_of(preload_variable) + 1 + length_of(found.preload) + 1;
  return found;
}

char *const *nag_environment_mend(const nag_environment *given, void *memory) {
  char **all = memory, *preload = preload_variable;
  size_t kept = 0;
  if (given->preload != NULL) {
    preload = (char *)(all + given->count + MOST_ADDED);
    append(append(append(preload, preload_variable), ":"), given->preload);
  }
  for (size_t i = 0; i < given->count; i++) {
    char *variable = given->variables[i];
    bool is_preload = nag_environment_value(variable, preload_name) != NULL;
    if (is_preload && preload == NULL) continue;
    if (is_preload) variable = preload, preload = NULL;
    if (!is_ours(variable)) all[kept++] = variable;
  }
  if (preload != NULL) all[kept++] = preload;
  all[kept++] = agent_variable;
  all[kept++] = given_variable;
  all[kept] = NULL;
  return all;
}

// The program's own list behind the agent, as its own variable, made of that text; NULL: there is none.
static char *without_agent(char *preload) {
  char *rest = (char *)(uintptr_t)nag_environment_value(preload + sizeof preload_name - 1, own_path());
  if (rest == NULL) return preload;
  if (*rest == 0) return NULL;
  char *variable = rest + 1 - (sizeof preload_name - 1);
  nag_copy(variable, preload_name, sizeof preload_name - 1);
  return variable;
}

void nag_environment_hide(char **variables) {
  bool was_given = false;
  for (char **at = variables; *at != NULL; at++)
    was_given = was_given || nag_environment_value(*at, given_variable) != NULL;
  if (!was_given || preload_variable[0] == 0) return;
  char **kept = variables;
  for (char **at = variables; *at != NULL; at++) {
    char *variable = *at;
    bool is_preload = nag_environment_value(variable, preload_name) != NULL;
    if (is_preload) variable = without_agent(variable);
    if (variable != NULL && !is_ours(variable)) *kept++ = variable;
  }
  *kept = NULL;
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

// The loader preloads nothing into such a program.
static bool has_more_rights(const struct stat *program) {
  return (program->st_mode & S_ISUID && program->st_uid != (uid_t)NAG_CALL(SYS_geteuid)) ||
         (program->st_mode & S_ISGID && program->st_gid != (gid_t)NAG_CALL(SYS_getegid));
}

bool nag_environment_may_help(const char *program) {
  int64_t file = NAG_CALL(SYS_open, program, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return true;  // it may be executed and not read: its loader decides
  Elf64_Ehdr header = {0};
  int64_t length = NAG_CALL(SYS_pread64, file, &header, sizeof header, 0);
  struct stat about = {0};
  NAG_CALL(SYS_fstat, file, &about);
  bool is_elf = length >= EI_NIDENT && __builtin_memcmp(header.e_ident, ELFMAG, SELFMAG) == 0;
  bool is_refused = is_elf && (length < (int64_t)sizeof header ||
                               header.e_ident[EI_CLASS] != ELFCLASS64 ||
                               header.e_machine != EM_X86_64 || has_other_loader(file, &header));
  NAG_CALL(SYS_close, file);
  return !is_refused && !has_more_rights(&about);
}
