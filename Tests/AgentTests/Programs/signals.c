// SPDX-License-Identifier: Apache-2.0
// Threads and signals, while a library is loaded and unloaded all the time, so that the agent
// patches all the time. argv[1] selects a case; argv[2] is the plugin. Prints what it saw, and
// lines `calls NAME NUMBER`.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))
static volatile int one = 1;
static volatile int stop;
static const char *plugin;

KEEP int leaf(int value) { return value + one; }
KEEP int branch(int value) { return leaf(value) + leaf(value + 1); }

static void load(int rounds) {
  for (int i = 0; i < rounds; i++) {
    void *library = dlopen(plugin, RTLD_NOW);
    int (*enter)(int) = (int (*)(int))dlsym(library, "plugin_enter");
    one += enter(i) < 0;
    dlclose(library);
  }
}

// --- masks ------------------------------------------------------------------------------------------

static void block_all(void) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static void *call_with_all_blocked(void *calls) {
  block_all();
  for (int i = 0; i < 20000; i++) *(int *)calls += branch(i) != 0;
  return NULL;
}

static void blocked(void) {
  pthread_t threads[2];
  int calls[2] = {0, 0};
  for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, call_with_all_blocked, &calls[i]);
  load(20);
  for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
  printf("calls branch %d\ncalls leaf %d\n", calls[0] + calls[1], 2 * (calls[0] + calls[1]));
}

// --- handlers ---------------------------------------------------------------------------------------

static volatile int handled, trapped;

KEEP void on_signal(int signal) {
  (void)signal;
  handled += branch(handled) != 0;
}

static void handle(int signal, void (*handler)(int), int flags) {
  struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
  sigfillset(&action.sa_mask);
  sigaction(signal, &action, NULL);
}

static void full_mask(void) {
  handle(SIGUSR1, on_signal, 0);
  for (int i = 0; i < 1000; i++) raise(SIGUSR1);
  load(5);
  for (int i = 0; i < 1000; i++) raise(SIGUSR1);
  printf("calls on_signal 2000\ncalls branch 2000\ncalls leaf 4000\n");
}

KEEP void on_trap(int signal) {
  (void)signal;
  trapped += leaf(1) != 0;
}

static void own_trap(void) {
  handle(SIGTRAP, on_trap, 0);
  for (int i = 0; i < 100; i++) __asm__ volatile("int3" ::: "memory");
  load(5);
  for (int i = 0; i < 100; i++) __asm__ volatile("int3" ::: "memory");
  sigset_t trap;
  sigemptyset(&trap);
  sigaddset(&trap, SIGTRAP);
  sigprocmask(SIG_BLOCK, &trap, NULL);
  load(5);
  branch(1);
  raise(SIGTRAP);
  printf("held %d\n", trapped);
  sigprocmask(SIG_UNBLOCK, &trap, NULL);
  printf("trapped %d\ncalls on_trap 201\ncalls leaf 203\n", trapped);
}

// SIGPROF a thousand times a second of CPU time, on an alternate stack.
static void profiled(void) {
  static char stack[65536];
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  sigaltstack(&alternate, NULL);
  handle(SIGPROF, on_signal, SA_ONSTACK | SA_RESTART);
  struct itimerval every = {{0, 1000}, {0, 1000}}, never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_PROF, &every, NULL);
  int calls = 0;
  while (handled < 200) {
    for (int i = 0; i < 20; i++) calls += branch(i) != 0;
    for (volatile int i = 0; i < 20000; i++) {}
    load(1);
  }
  setitimer(ITIMER_PROF, &never, NULL);
  printf("calls on_signal %d\ncalls branch %d\ncalls leaf %d\n", handled, calls + handled,
         2 * (calls + handled));
}

// --- sleepers ---------------------------------------------------------------------------------------

static int channel[2];
static _Atomic int asleep, interrupted;

static void *sleeper(void *how) {
  struct epoll_event event = {.events = EPOLLIN};
  int epoll = epoll_create1(EPOLL_CLOEXEC), kind = (int)(long)how;
  epoll_ctl(epoll, EPOLL_CTL_ADD, channel[0], &event);
  asleep++;
  while (!stop) {
    int status = 0;
    char byte;
    if (kind == 0) status = poll(&(struct pollfd){.fd = channel[0], .events = POLLIN}, 1, -1);
    if (kind == 1) status = epoll_wait(epoll, &event, 1, -1);
    if (kind == 2) status = nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    if (kind == 3) status = (int)read(channel[0], &byte, 1);
    if (status < 0 && errno == EINTR) interrupted++;
  }
  return NULL;
}

static void sleepers(void) {
  pthread_t threads[4];
  if (pipe(channel) != 0) return;
  for (long i = 0; i < 4; i++) pthread_create(&threads[i], NULL, sleeper, (void *)i);
  while (asleep < 4) usleep(1000);
  load(100);
  stop = 1;
  if (write(channel[1], "wake", 4) != 4) return;
  close(channel[1]);
  for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  printf("interrupted %d\n", interrupted);
}

// --- threads and processes that come and go -----------------------------------------------------------

static void *short_life(void *argument) {
  branch((int)(long)argument);
  return NULL;
}

static void churn(void) {
  enum { THREADS = 10000, AT_ONCE = 8 };
  for (int i = 0; i < THREADS; i += AT_ONCE) {
    pthread_t threads[AT_ONCE];
    for (int j = 0; j < AT_ONCE; j++)
      pthread_create(&threads[j], NULL, short_life, (void *)(long)j);
    for (int j = 0; j < AT_ONCE; j++) pthread_join(threads[j], NULL);
    if (i % 1000 == 0) load(1);
  }
  printf("calls short_life %d\ncalls branch %d\ncalls leaf %d\n", THREADS, THREADS, 2 * THREADS);
}

static void *loader(void *argument) {
  while (!stop) load(1);
  return argument;
}

KEEP int in_child(int value) { return leaf(value) & 1; }

static int wait_for(pid_t child) {
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
  return WIFEXITED(status) ? WEXITSTATUS(status) : 100 + WTERMSIG(status);
}

// Forks of every kind while another thread is inside dlopen and dlclose. In a child the loader's
// lock may stay held for ever. So the child only calls functions and ends.
static void forks(void) {
  enum { ROUNDS = 60 };
  pthread_t thread;
  int sum = 0;
  pthread_create(&thread, NULL, loader, NULL);
  for (int i = 0; i < ROUNDS; i++) {
    pid_t child = fork();
    if (child == 0) _exit(in_child(0) + 2);
    sum += wait_for(child);
    child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) _exit(in_child(0) + 3);
    sum += wait_for(child);
    child = vfork();
    if (child == 0) _exit(in_child(0) + 4);
    sum += wait_for(child);
  }
  stop = 1;
  pthread_join(thread, NULL);
  printf("sum %d\ncalls in_child %d\ncalls leaf %d\n", sum, 3 * ROUNDS, 3 * ROUNDS);
}

// --- dispositions ---------------------------------------------------------------------------------------

static const int kept[] = {SIGSEGV, SIGBUS, SIGTRAP, SIGILL, SIGFPE, SIGSYS};

static int count_changed(void) {
  int changed = 0;
  for (int i = SIGRTMIN; i <= SIGRTMAX; i++) {
    struct sigaction action;
    changed += sigaction(i, NULL, &action) == 0 && action.sa_handler != SIG_DFL;
  }
  for (unsigned i = 0; i < sizeof kept / sizeof kept[0]; i++) {
    struct sigaction action;
    changed += sigaction(kept[i], NULL, &action) == 0 && action.sa_handler != SIG_DFL;
  }
  return changed;
}

static void *watcher(void *found) {
  while (!stop) *(int *)found += count_changed();
  return NULL;
}

static void dispositions(void) {
  pthread_t thread;
  int found = 0;
  printf("before %d\n", count_changed());
  pthread_create(&thread, NULL, watcher, &found);
  load(200);
  stop = 1;
  pthread_join(thread, NULL);
  printf("during %d\nafter %d\n", found, count_changed());
}

static sigjmp_buf place;
static void jump_back(int signal) { siglongjmp(place, signal); }

// One thread faults on purpose while another loads and unloads.
static int fault(volatile char *absent, volatile char *beyond) {
  int seen = sigsetjmp(place, 1);
  if (seen == 0) *absent = 1;
  if (seen == SIGSEGV) *beyond = 1;
  return seen == SIGBUS;
}

static void *faulter(void *count) {
  char name[] = "/tmp/nopscope-signals-XXXXXX";
  int file = mkstemp(name);
  unlink(name);
  char *absent = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  char *beyond = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  for (int i = 0; i < 2000; i++) *(int *)count += fault(absent, beyond);
  return NULL;
}

static void own_faults(void) {
  pthread_t thread;
  int count = 0;
  handle(SIGSEGV, jump_back, 0);
  handle(SIGBUS, jump_back, 0);
  handle(SIGRTMAX, on_signal, 0);
  pthread_create(&thread, NULL, faulter, &count);
  load(100);
  pthread_join(thread, NULL);
  for (int i = 0; i < 10; i++) raise(SIGRTMAX);
  printf("faults %d\ncalls on_signal 10\n", count);
}

// Most of five gigabytes of address space, in one piece.
static void memory(void) {
  load(1);
  void *much = mmap(NULL, (size_t)7 << 29, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  for (int i = 0; i < 100; i++) branch(i);
  printf("mapped %d\ncalls branch 100\ncalls leaf 200\n", much != MAP_FAILED);
}

// Counts mappings that are both writable and executable. Only text of the plugin may be, while the
// agent writes it.
static void *look_at_maps(void *found) {
  while (!stop) {
    char line[4400];
    FILE *maps = fopen("/proc/self/maps", "re");
    while (fgets(line, sizeof line, maps)) {
      char *permissions = strchr(line, ' ') + 1;
      int is_open = permissions[1] == 'w' && permissions[2] == 'x';
      ((int *)found)[0] += is_open && !strstr(line, plugin);
      ((int *)found)[1]++;
    }
    fclose(maps);
  }
  return NULL;
}

KEEP int descend(int depth) { return depth > 0 ? descend(depth - 1) + leaf(depth) : 0; }
static void *deep(void *argument) { return (void *)(long)descend(5000); }

static void maps(void) {
  pthread_t thread, deep_one;
  int found[2] = {0, 0};
  pthread_create(&thread, NULL, look_at_maps, found);
  for (int i = 0; i < 100; i++) {
    load(1);
    pthread_create(&deep_one, NULL, deep, NULL);
    pthread_join(deep_one, NULL);
  }
  stop = 1;
  pthread_join(thread, NULL);
  printf("open %d\nlooked %d\n", found[0], found[1] > 1000);
}

int main(int argument_count, char **words) {
  const char *how = words[1];
  plugin = words[argument_count - 1];
  if (!strcmp(how, "blocked")) blocked();
  if (!strcmp(how, "full-mask")) full_mask();
  if (!strcmp(how, "own-trap")) own_trap();
  if (!strcmp(how, "profiled")) profiled();
  if (!strcmp(how, "sleepers")) sleepers();
  if (!strcmp(how, "churn")) churn();
  if (!strcmp(how, "forks")) forks();
  if (!strcmp(how, "dispositions")) dispositions();
  if (!strcmp(how, "own-faults")) own_faults();
  if (!strcmp(how, "memory")) memory();
  if (!strcmp(how, "maps")) maps();
  return 3;
}
