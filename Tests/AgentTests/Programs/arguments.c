// Calls functions with arguments of many types, and prints each call as a replay with --args shows it.
// The first argument says how they are called; the second, of `plugin`, which library.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define APART __attribute__((noinline))
#ifdef __clang__
#define WHOLE APART __attribute__((optnone))
#else
#define WHOLE APART __attribute__((noipa))
#endif

enum color { RED, GREEN = 5, BLUE = -1 };
enum flag { NONE, SOME = 4000000000u };
struct small { int x, y; };
struct mixed { double d; long l; };
struct large { long words[5]; };

WHOLE int ints(int8_t a, uint8_t b, int16_t c, uint16_t d, int32_t e, uint32_t f) {
  return a + b + c + d + e + (int)f;
}
WHOLE long stacked(long a, long b, long c, long d, long e, long f, short g, uint64_t h, char i,
                   const char *j) {
  return a + b + c + d + e + f + g + (long)h + i + (j != NULL);
}
WHOLE double floats(float a, double b, int c, double d, float e, double f, double g, double h,
                    double i, float j) {
  return a + b + c + d + e + f + g + h + i + j;
}
WHOLE double few(float a, int b, double c) { return a + b + c; }
WHOLE float half(float x) { return x / 2; }
WHOLE bool is_blue(enum color c, enum flag f) { return c == BLUE && f == SOME; }
WHOLE enum color next(enum color c) { return c == RED ? GREEN : (enum color)(c + 2); }
WHOLE char upper(char c) { return (char)(c - 32); }
WHOLE const char *text(const char *t) { return t; }
WHOLE void *pointer(void *p, int *q) { return q != NULL ? p : NULL; }
WHOLE int structs(struct small s, int a, struct large l, int b, struct mixed m, double c, long double q,
                  int d) {
  return s.x + a + (int)l.words[0] + b + (int)m.l + (int)c + (int)q + d;
}
WHOLE struct large returns_large(int n) { return (struct large){{n}}; }
WHOLE struct small returns_small(int n) { return (struct small){n, n}; }
WHOLE void nothing(void) { __asm__ volatile(""); }
WHOLE long factorial(long n);
static long (*volatile again)(long) = factorial;  // no loop is made of it
WHOLE long factorial(long n) { return n < 2 ? 1 : n * again(n - 1); }
WHOLE int counted(const void *string, int n) { return string != NULL ? n : 0; }
WHOLE int unnamed(int a, int b) { return a - b; }

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *said;
static size_t length;
static FILE *lines;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...) {
  va_list list;
  va_start(list, format);
  pthread_mutex_lock(&lock);
  vfprintf(lines, format, list);
  pthread_mutex_unlock(&lock);
  va_end(list);
}

static void say_ints(int8_t a, uint8_t b, int16_t c, uint16_t d, int32_t e, uint32_t f) {
  int r = ints(a, b, c, d, e, f);
  say("ints(a=%d, b=%u, c=%d, d=%u, e=%d, f=%u) = %d\n", a, b, c, d, e, f, r);
}

static void call_numbers(void) {
  say_ints(-1, 255, -2, 65535, INT32_MIN, UINT32_MAX);
  say_ints(1, 2, 3, 4, 5, 6);
  long r = stacked(1, -2, 3, -4, 5, INT64_MIN, -7, UINT64_MAX, 'x', "ten");
  say("stacked(a=1, b=-2, c=3, d=-4, e=5, f=%ld, g=-7, h=%lu, i='x', j=\"ten\") = %ld\n", INT64_MIN,
      UINT64_MAX, r);
  double d = floats(0.5f, -1.25, 3, 4.5, 5.5f, 6.5, 7.5, 8.5, 9.5, 10.5f);
#ifdef BEHIND_PROLOGUE
  say("floats(a=?, b=?, c=3, d=?, e=?, f=?, g=?, h=?, i=?, j=10.5) = %g\n", d);
#else
  say("floats(a=0.5, b=-1.25, c=3, d=4.5, e=5.5, f=6.5, g=7.5, h=8.5, i=9.5, j=10.5) = %g\n", d);
#endif
  few(0.5f, 1, -2.5);
  say("few(a=0.5, b=1, c=-2.5) = -1.0\n");
  half(3);
  say("half(x=3.0) = 1.5\n");
  is_blue(BLUE, SOME);
  say("is_blue(c=BLUE, f=SOME) = true\n");
  is_blue((enum color)77, NONE);
  say("is_blue(c=77, f=NONE) = false\n");
  next(RED);
  say("next(c=RED) = GREEN\n");
  upper('a');
  upper('*');
  say("upper(c='a') = 'A'\nupper(c='*') = '\\n'\n");
}

static void call_structs(void) {
  int number = 3;
  pointer(stdout, &number);
  say("pointer(p=%p, q=%p) = %p\n", (void *)stdout, (void *)&number, (void *)stdout);
  pointer(NULL, NULL);
  say("pointer(p=0x0, q=0x0) = 0x0\n");
  int r = structs((struct small){1, 2}, 3, (struct large){{4}}, 5, (struct mixed){6, 7}, 8, 9, 10);
  say("structs(s={…}, a=3, l={…}, b=5, m={…}, c=8.0, q=?, d=10) = %d\n", r);
  returns_large(11);
  returns_small(12);
  say("returns_large(n=11) = {…}\nreturns_small(n=12) = {…}\n");
  nothing();
  say("nothing()\n");
  factorial(3);
  say("factorial(n=3) = 6\nfactorial(n=2) = 2\nfactorial(n=1) = 1\n");
}

// A text that ends at the end of its mapping without a NUL, behind which nothing is mapped.
static void call_texts(void) {
  char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  munmap(pages + 4096, 4096);
  memcpy(pages + 4091, "ab\"\n\x01", 5);
  char *across = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  memcpy(across + 4090, "across pages", 13);
  char full[97], more[98], own[] = "own";
  memset(full, 'f', 96), full[96] = 0;
  memset(more, 'm', 97), more[97] = 0;
  text("");
  text("short");
  text(own);
  text(full);
  text(more);
  text("gr\xc3\xbc\xc3\x9f \xff \x1b[1m");
  text(pages + 4091);
  text(across + 4090);
  text(NULL);
  text((char *)1);
  text((char *)(pages + 4096));
  text((char *)0xffff800000000000);
  say("text(t=\"\") = \"\"\ntext(t=\"short\") = \"short\"\ntext(t=\"own\") = \"own\"\n");
  say("text(t=\"%s\") = \"%s\"\n", full, full);
  more[96] = 0;
  say("text(t=\"%s\"…) = \"%s\"…\n", more, more);
  const char *tidy = "\"gr\xc3\xbc\xc3\x9f \\xff \\x1b[1m\"", *end = "\"ab\\\"\\n\\x01\"…";
  say("text(t=%s) = %s\ntext(t=%s) = %s\n", tidy, tidy, end, end);
  say("text(t=\"across pages\") = \"across pages\"\ntext(t=NULL) = NULL\n");
  for (int i = 0; i < 3; i++) say("text(t=?) = ?\n");
}

// What libc++'s std::string is: twice the size in a byte and the characters, or a capacity with its
// lowest bit set, the size and the address.
static void call_libcxx(void) {
  static const char forty[] = "0123456789012345678901234567890123456789";
  uint64_t lengthy[3] = {65, 40, (uint64_t)forty}, empty[3] = {0}, brief[3] = {0};
  memcpy(brief, "\x0a" "brief", 6);
  counted(brief, 1);
  counted(lengthy, 2);
  counted(empty, 3);
  counted((void *)8, 4);
  say("counted(string=\"brief\", n=1) = 1\ncounted(string=\"%s\", n=2) = 2\n", forty);
  say("counted(string=\"\", n=3) = 3\ncounted(string=?, n=4) = 4\n");
}

static void *call_often(void *number) {
  char own[32];
  for (int i = 0; i < 1000; i++) {
    int first = (int)(long)number * 1000 + i;
    snprintf(own, sizeof own, "thread %d", first);
    text(own);
    int r = unnamed(first, i);
    say("text(t=\"%s\") = \"%s\"\nunnamed(a=%d, b=%d) = %d\n", own, own, first, i, r);
  }
  return NULL;
}

static void call_in_threads(void) {
  pthread_t threads[8];
  for (long i = 0; i < 8; i++) pthread_create(&threads[i], NULL, call_often, (void *)i);
  for (int i = 0; i < 8; i++) pthread_join(threads[i], NULL);
}

static void handle(int signal) {
  text("in a handler");
  unnamed(signal, 1);
}

static void call_in_handler(void) {
  static char memory[1 << 14];
  stack_t stack = {.ss_sp = memory, .ss_size = sizeof memory};
  struct sigaction action = {.sa_handler = handle, .sa_flags = SA_ONSTACK};
  sigaltstack(&stack, NULL);
  sigaction(SIGUSR1, &action, NULL);
  raise(SIGUSR1);
  say("text(t=\"in a handler\") = \"in a handler\"\nunnamed(a=%d, b=1) = %d\n", SIGUSR1, SIGUSR1 - 1);
}

// `forbidden`: ends the program.
static void confine(int forbidden) {
  struct sock_filter code[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)forbidden, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program = {sizeof code / sizeof code[0], code};
  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

// Nothing but the thread's own stack can be read then.
static void call_confined(int forbidden) {
  char own[] = "own";
  text("before");
  confine(forbidden);
  text("elsewhere");
  text(own);
  unnamed(3, 2);
  say("text(t=\"before\") = \"before\"\ntext(t=?) = ?\ntext(t=\"own\") = \"own\"\n");
  say("unnamed(a=3, b=2) = 1\n");
}

static void call_in_child(void) {
  text("parent");
  say("text(t=\"parent\") = \"parent\"\n");
  fflush(lines);
  if (fork() == 0) {
    text("child");
    unnamed(5, 5);
    exit(0);
  }
  wait(NULL);
  say("text(t=\"child\") = \"child\"\nunnamed(a=5, b=5) = 0\n");
}

static void call_plugin(const char *path) {
  for (int i = 0; i < 2; i++) {
    void *plugin = dlopen(path, RTLD_NOW);
    int (*function)(int, const char *) = (int (*)(int, const char *))dlsym(plugin, "plugged");
    function(i, "in a plugin");
    say("plugged(n=%d, s=\"in a plugin\") = %d\n", i, i + 1);
    dlclose(plugin);
  }
}

int main(int count, char **arguments) {
  lines = open_memstream(&said, &length);
  const char *how = count > 1 ? arguments[1] : "";
  if (strcmp(how, "numbers") == 0) call_numbers();
  if (strcmp(how, "structs") == 0) call_structs();
  if (strcmp(how, "texts") == 0) call_texts();
  if (strcmp(how, "libcxx") == 0) call_libcxx();
  if (strcmp(how, "threads") == 0) call_in_threads();
  if (strcmp(how, "handler") == 0) call_in_handler();
  if (strcmp(how, "no reading") == 0) call_confined(SYS_process_vm_readv);
  if (strcmp(how, "no signals") == 0) call_confined(SYS_rt_sigprocmask);
  if (strcmp(how, "child") == 0) call_in_child();
  if (strcmp(how, "plugin") == 0) call_plugin(arguments[2]);
  for (int i = 2; i < count && strcmp(how, "plugins") == 0; i++) {
    int (*function)(int, const char *) =
        (int (*)(int, const char *))dlsym(dlopen(arguments[i], RTLD_NOW), "plugged");
    function(0, "in a plugin");
  }
  fclose(lines);
  for (size_t done = 0; done < length;) {
    ssize_t wrote = write(1, said + done, length - done);
    if (wrote <= 0) break;
    done += (size_t)wrote;
  }
  _exit(0);
}
