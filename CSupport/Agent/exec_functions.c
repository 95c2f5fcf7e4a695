// SPDX-License-Identifier: Apache-2.0
//
// The functions that start another program, as libc has them. The agent interposes them: the program
// that is started keeps the agent (exec_environment.c), and the recorder is told what is to come, so
// that it can name what never joins (notes.c). They do what libc's do, and most of them are no more
// than the system call.
//
// libc calls its own functions directly, so each is interposed by itself. What system(3) and popen(3)
// start has the environment `environ`; where that lacks our variables, system is made of posix_spawn,
// and popen finds an `environ` that has them while it starts its shell.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"
#include "syscalls.h"

#define EXPORT __attribute__((visibility("default")))

typedef int (*exec_by_name)(const char *, char *const *, char *const *);
typedef int (*spawn)(pid_t *, const char *, const posix_spawn_file_actions_t *,
                     const posix_spawnattr_t *, char *const *, char *const *);
static exec_by_name libc_execvpe;
static spawn libc_spawn, libc_spawnp;
static int (*libc_system)(const char *);
static FILE *(*libc_popen)(const char *, const char *);

// Looked up before the program runs: a lookup takes the loader's lock.
void nag_exec_prepare(void) {
  libc_execvpe = (exec_by_name)dlsym(RTLD_NEXT, "execvpe");
  libc_spawn = (spawn)dlsym(RTLD_NEXT, "posix_spawn");
  libc_spawnp = (spawn)dlsym(RTLD_NEXT, "posix_spawnp");
  libc_system = (int (*)(const char *))dlsym(RTLD_NEXT, "system");
  libc_popen = (FILE * (*)(const char *, const char *)) dlsym(RTLD_NEXT, "popen");
}

void nag_exec_keep_agent(void) {
  Dl_info agent;
  if (dladdr((void *)&nag_config, &agent) != 0 && agent.dli_fname != NULL)
    nag_environment_prepare(agent.dli_fname);
}

static int fail(int64_t result) {
  errno = (int)-result;
  return -1;
}

// --- what is about to start
// ----------------------------------------------------------------------------------------------

/// What it takes to start a program: its environment as it will be, and the note for the recorder.
typedef struct start {
  nag_environment given;
  char *const *variables;
  void *pages;          ///< NULL: none had to be taken
  nag_note note;
} start;

enum { MOST_ON_STACK = 2048 };

static start look(const char *program, char *const *variables) {
  start s = {.given = nag_environment_look(variables), .variables = variables};
  if (s.given.bytes > 0 && !nag_environment_may_help(program)) s.given.bytes = 0;
  s.note = (nag_note){
    .kind = NREC_NOTE_EXEC, .process = nag_process_id(), .time = nag_time(), .program = program,
    .error = (int32_t)-NAG_CALL(SYS_access, nag_config.socket_path, W_OK),
    .flags = s.given.is_others ? NREC_NOTE_OTHERS : 0,
  };
  return s;
}

static void mend(start *s, void *memory) {
  if (memory == NULL) memory = s->pages = nag_pages(s->given.bytes);
  if (memory != NULL) s->variables = nag_environment_mend(&s->given, memory);
}

// The memory for a small environment is the caller's stack: what follows an exec cannot free pages
// that it shares with its parent.
#define MEND(s)                                                                             \
  do {                                                                                      \
    if ((s)->given.bytes > 0)                                                               \
      mend((s), (s)->given.bytes <= MOST_ON_STACK ? __builtin_alloca((s)->given.bytes) : NULL); \
  } while (0)

static void finish(start *s) {
  if (s->pages != NULL) NAG_CALL(SYS_munmap, s->pages, s->given.bytes);
}

// A child that vfork made shares its parent's memory. If the program is executed, the functions that
// are open here do not return, and the parent goes on outside of them.
static void leave(start *s) {
  nag_process *process = nag_process_state;
  nag_self.is_lent = process != NULL && process->header != NULL && process->id != s->note.process;
  nag_note_leave(&s->note);
}

static void stay(start *s) {
  int error = errno;
  nag_self.is_lent = false;
  s->note.kind = NREC_NOTE_STAYED;
  nag_note_leave(&s->note);
  finish(s);
  errno = error;
}

// Whether the kernel would take these: where it would not, it is asked for nothing else.
static bool is_ours(const char *path, char *const *variables) {
  if (nag_config.notes == NULL) return false;
  return npc_page_is_readable((uint64_t)path) &&
         (variables == NULL || npc_page_is_readable((uint64_t)variables));
}

// --- exec
// ----------------------------------------------------------------------------------------------------------------

static int execute(const char *path, char *const *arguments, char *const *variables) {
  if (!is_ours(path, variables)) return fail(NAG_CALL(SYS_execve, path, arguments, variables));
  start s = look(path, variables);
  MEND(&s);
  leave(&s);
  int result = fail(NAG_CALL(SYS_execve, path, arguments, s.variables));
  stay(&s);
  return result;
}

// The file that a name without a slash stands for; `name` itself where it is not found. PATH is
// `environ`'s, whatever environment the program gets: see exec(3).
static const char *find(const char *name, char *buffer, size_t size) {
  const char *folders = "/bin:/usr/bin";
  size_t length = 0;
  while (name[length] != 0 && name[length] != '/') length++;
  if (name[length] == '/' || length == 0) return name;
  for (char **at = environ; at != NULL && *at != NULL; at++)
    if (nag_environment_value(*at, "PATH=") != NULL) folders = nag_environment_value(*at, "PATH=");
  while (true) {
    size_t folder = 0;
    while (folders[folder] != 0 && folders[folder] != ':') folder++;
    if (folder + length + 2 <= size) {
      nag_copy(buffer, folders, folder);
      buffer[folder] = '/';
      nag_copy(buffer + folder + (folder > 0), name, length + 1);
      if (NAG_CALL(SYS_access, buffer, X_OK) == 0) return buffer;
    }
    if (folders[folder] == 0) return name;
    folders += folder + 1;
  }
}

static int execute_by_name(const char *name, char *const *arguments, char *const *variables) {
  if (libc_execvpe == NULL) return fail(-ENOSYS);
  if (!is_ours(name, variables)) return libc_execvpe(name, arguments, variables);
  char buffer[1024];
  start s = look(find(name, buffer, sizeof buffer), variables);
  MEND(&s);
  leave(&s);
  int result = libc_execvpe(name, arguments, s.variables);
  stay(&s);
  return result;
}

EXPORT int execve(const char *path, char *const arguments[], char *const variables[]) {
  return execute(path, arguments, variables);
}

EXPORT int execv(const char *path, char *const arguments[]) {
  return execute(path, arguments, environ);
}

EXPORT int execvp(const char *name, char *const arguments[]) {
  return execute_by_name(name, arguments, environ);
}

EXPORT int execvpe(const char *name, char *const arguments[], char *const variables[]) {
  return execute_by_name(name, arguments, variables);
}

EXPORT int execveat(int folder, const char *path, char *const arguments[], char *const variables[],
                    int flags) {
  if (!is_ours(path, variables))
    return fail(NAG_CALL(SYS_execveat, folder, path, arguments, variables, flags));
  start s = look(path, variables);
  MEND(&s);
  leave(&s);
  int result = fail(NAG_CALL(SYS_execveat, folder, path, arguments, s.variables, flags));
  stay(&s);
  return result;
}

EXPORT int fexecve(int file, char *const arguments[], char *const variables[]) {
  return execveat(file, "", arguments, variables, AT_EMPTY_PATH);
}

// The arguments of execl and its like, as an array on the caller's stack.
#define GATHER(array, first, list)                                    \
  char **array;                                                       \
  do {                                                                \
    size_t count = 1;                                                 \
    va_list counted;                                                  \
    va_copy(counted, list);                                           \
    if ((first) != NULL) while (va_arg(counted, char *) != NULL) count++; \
    va_end(counted);                                                  \
    array = __builtin_alloca((count + 1) * sizeof *array);            \
    array[0] = (char *)(uintptr_t)(first);                            \
    for (size_t i = 1; (first) != NULL && i <= count; i++) array[i] = va_arg(list, char *); \
  } while (0)

EXPORT int execl(const char *path, const char *first, ...) {
  va_list list;
  va_start(list, first);
  GATHER(arguments, first, list);
  va_end(list);
  return execute(path, arguments, environ);
}

EXPORT int execlp(const char *name, const char *first, ...) {
  va_list list;
  va_start(list, first);
  GATHER(arguments, first, list);
  va_end(list);
  return execute_by_name(name, arguments, environ);
}

EXPORT int execle(const char *path, const char *first, ...) {
  va_list list;
  va_start(list, first);
  GATHER(arguments, first, list);
  char *const *variables = va_arg(list, char *const *);
  va_end(list);
  return execute(path, arguments, variables);
}

// --- spawn
// ---------------------------------------------------------------------------------------------------------------

static int start_child(spawn by, pid_t *child, const char *name, const char *path,
                       const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const *arguments,
                       char *const *variables) {
  pid_t made = 0;
  if (by == NULL) return ENOSYS;
  if (!is_ours(path, variables)) return by(child, name, actions, attributes, arguments, variables);
  start s = look(path, variables);
  MEND(&s);
  int error = by(&made, name, actions, attributes, arguments, s.variables);
  s.note.kind = NREC_NOTE_SPAWNED;
  s.note.process = made;
  if (error == 0) nag_note_leave(&s.note);
  if (error == 0 && child != NULL) *child = made;
  finish(&s);
  return error;
}

EXPORT int posix_spawn(pid_t *child, const char *path, const posix_spawn_file_actions_t *actions,
                       const posix_spawnattr_t *attributes, char *const arguments[],
                       char *const variables[]) {
  return start_child(libc_spawn, child, path, path, actions, attributes, arguments, variables);
}

EXPORT int posix_spawnp(pid_t *child, const char *name, const posix_spawn_file_actions_t *actions,
                        const posix_spawnattr_t *attributes, char *const arguments[],
                        char *const variables[]) {
  char buffer[1024];
  if (!npc_page_is_readable((uint64_t)name)) return EFAULT;
  return start_child(libc_spawnp, child, name, find(name, buffer, sizeof buffer), actions,
                     attributes, arguments, variables);
}

// --- a shell
// ---------------------------------------------------------------------------------------------------------------

typedef struct waited { pid_t child; } waited;

static void end_child(void *argument) {
  const waited *w = argument;
  NAG_CALL(SYS_kill, w->child, SIGKILL);
  while (NAG_CALL(SYS_wait4, w->child, 0, 0, 0) == -EINTR) {}
}

static int wait_for(pid_t child) {
  waited w = {child};
  int status = -1;
  pthread_cleanup_push(end_child, &w);
  while (waitpid(child, &status, 0) < 0)
    if (errno != EINTR) {
      status = -1;
      break;
    }
  pthread_cleanup_pop(0);
  return status;
}

// system(3): meanwhile this thread blocks SIGCHLD, and the process ignores SIGINT and SIGQUIT.
static int run_shell(const char *command) {
  struct sigaction ignored = {.sa_handler = SIG_IGN}, interrupt, quit;
  sigset_t block, before, defaults;
  posix_spawnattr_t attributes;
  static char shell[] = "sh", option[] = "-c";
  char *arguments[] = {shell, option, (char *)(uintptr_t)command, NULL};
  pid_t child;
  sigemptyset(&block);
  sigemptyset(&defaults);
  sigaddset(&block, SIGCHLD);
  sigaction(SIGINT, &ignored, &interrupt);
  sigaction(SIGQUIT, &ignored, &quit);
  pthread_sigmask(SIG_BLOCK, &block, &before);
  if (interrupt.sa_handler != SIG_IGN) sigaddset(&defaults, SIGINT);
  if (quit.sa_handler != SIG_IGN) sigaddset(&defaults, SIGQUIT);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &before);
  posix_spawnattr_setsigdefault(&attributes, &defaults);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  int error = posix_spawn(&child, "/bin/sh", NULL, &attributes, arguments, environ);
  posix_spawnattr_destroy(&attributes);
  int status = error == 0 ? wait_for(child) : 127 << 8;
  int number = error == 0 ? errno : error;
  sigaction(SIGINT, &interrupt, NULL);
  sigaction(SIGQUIT, &quit, NULL);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  errno = number;
  return status;
}

EXPORT int system(const char *command) {
  if (libc_system == NULL) return fail(-ENOSYS);
  bool is_plain = nag_config.notes == NULL || command == NULL || nag_environment_look(environ).bytes == 0;
  return is_plain ? libc_system(command) : run_shell(command);
}

EXPORT FILE *popen(const char *command, const char *mode) {
  if (libc_popen == NULL) {
    errno = ENOSYS;
    return NULL;
  }
  char **own = environ;
  nag_environment given = nag_environment_look(own);
  void *pages = nag_config.notes != NULL && given.bytes > 0 ? nag_pages(given.bytes) : NULL;
  if (pages == NULL) return libc_popen(command, mode);
  char **mended = (char **)(uintptr_t)nag_environment_mend(&given, pages);
  environ = mended;
  FILE *stream = libc_popen(command, mode);
  int error = errno;
  // Another thread may have set a variable meanwhile: then its environment counts.
  if (environ == mended) {
    environ = own;
    NAG_CALL(SYS_munmap, pages, given.bytes);
  }
  errno = error;
  return stream;
}
