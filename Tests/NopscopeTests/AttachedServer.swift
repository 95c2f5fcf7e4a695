// SPDX-License-Identifier: Apache-2.0

/// The program that is attached to: it checks every result of its own.
enum AttachedServer {
  /// `server WORK...`: a thread for each letter. A wrong result ends it with status 1; SIGTERM ends it
  /// with 0.
  static let source = """
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <errno.h>
    #include <pthread.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/epoll.h>
    #include <sys/resource.h>
    #include <sys/time.h>
    #include <sys/wait.h>
    #include <unistd.h>
    #define NO __attribute__((no_instrument_function))
    __attribute__((noinline)) int leaf(int a) { __asm__ volatile(""); return a + 1; }
    __attribute__((noinline)) long deep(int n) { return n ? deep(n - 1) + leaf(n) - n : 0; }
    static int depth;
    __attribute__((noinline)) long asleep(int n) {
      if (n == 0) { for (int i = 0; i < 5; i++) usleep(100000); return leaf(1); }
      return asleep(n - 1) + leaf(0);
    }
    NO static void fail(const char *what) { fprintf(stderr, "WRONG: %s\\n", what); _exit(1); }
    NO static void on_alarm(int s) { if (leaf(s) != s + 1) fail("signal"); }
    NO static void on_end(int s) { (void)s; _exit(0); }
    NO static void *calls(void *a) { for (;;) if (deep(200) != 200) fail("deep"); return a; }
    NO static void *sleeps(void *a) { for (;;) if (asleep(1000) != 1002) fail("asleep"); return a; }
    NO static void *allocates(void *a) {
      void *all[64] = {0};
      for (unsigned s = 1, i;; leaf((int)i)) {
        i = (unsigned)rand_r(&s) % 64;
        free(all[i]);
        if ((all[i] = malloc((unsigned)rand_r(&s) % 5000)) == NULL) fail("malloc");
      }
      return a;
    }
    static const char *library;
    NO static void *loads(void *a) {
      for (;;) {
        void *handle = dlopen(library, RTLD_NOW);
        int (*work)(int) = handle ? (int (*)(int))dlsym(handle, "loaded") : NULL;
        if (work == NULL || work(1) != 2 || dlclose(handle) != 0) fail("dlopen");
      }
      return a;
    }
    NO static void *forks(void *a) {
      for (int status;; usleep(1000)) {
        pid_t child = fork();
        if (child == 0) _exit(deep(10) == 10 ? 3 : 1);
        while (waitpid(child, &status, 0) < 0) if (errno != EINTR) fail("waitpid");
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 3) fail("fork");
      }
      return a;
    }
    NO static void *short_one(void *a) { if (deep(20) != 20) fail("thread"); return a; }
    NO static void *threads(void *a) {
      for (pthread_t one;;) if (pthread_create(&one, 0, short_one, 0) == 0) pthread_join(one, 0);
      return a;
    }
    NO static void *polls(void *a) {
      int group = epoll_create1(EPOLL_CLOEXEC);
      for (struct epoll_event event;;)
        if (leaf(epoll_wait(group, &event, 1, 1)) != 1) fail("EINTR");
      return a;
    }
    NO int main(int count, char **words) {
      struct sigaction alarm = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
      sigset_t alarms;
      setrlimit(RLIMIT_CPU, &(struct rlimit){300, 300});  // where nobody ends it
      library = count > 2 ? words[2] : NULL;
      signal(SIGTERM, on_end);
      sigaction(SIGALRM, &alarm, NULL);
      sigemptyset(&alarms);
      sigaddset(&alarms, SIGALRM);
      for (const char *letter = words[1]; *letter; letter++) {
        void *(*work)(void *) = *letter == 'c' ? calls : *letter == 'm' ? allocates
                                : *letter == 'l' ? loads : *letter == 'f' ? forks
                                : *letter == 't' ? threads : *letter == 'z' ? sleeps : polls;
        pthread_t one;
        if (*letter == '1' || *letter == 's') continue;
        // Whoever must not see EINTR gets no signal.
        if (*letter == 'p') pthread_sigmask(SIG_BLOCK, &alarms, NULL);
        pthread_create(&one, 0, work, 0);
        pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
      }
      struct itimerval often = {{0, 1000}, {0, 1000}};
      if (strchr(words[1], 's')) setitimer(ITIMER_REAL, &often, NULL);
      puts("ready");
      fflush(stdout);
      if (words[1][0] == '1') allocates(NULL);
      for (;;) pause();
    }
    """
}
