// SPDX-License-Identifier: Apache-2.0

/// The program that is recorded, as C, and the plugins that it loads.
///
/// It does what its seed says, and counts on its own in a file that it maps: `before[i]` is raised
/// before function i is called, `inside[i]` by the function's body. However it ends, a recording
/// that is right has at least `inside` calls and at most `before`.
enum SoakProgram {
  static let plugins = 12
  static let paths = 4
  static let mostLoads = 4096
  /// What a vfork child calls, in its parent's name. A child that outlives a killed parent is not
  /// recorded any more.
  static let lent = "lent_leaf"
  static let names: [String] =
    ["leaf", "mid", "deep", "in_handler", "child_leaf", lent, "jumper"]
    + (0..<plugins).flatMap { ["plugin_\($0)_leaf", "plugin_\($0)_begin", "plugin_\($0)_end"] }

  /// Of both: the layout of the counts.
  private static let shared =
    """
    #define _GNU_SOURCE
    #include <stdint.h>
    #define OURS __attribute__((no_instrument_function, patchable_function_entry(0)))
    #define KEEP __attribute__((noinline, noclone, visibility("default")))
    enum { LEAF, MID, DEEP, IN_HANDLER, CHILD_LEAF, LENT_LEAF, JUMPER, PLUGIN, NAMES = \(names.count) };
    struct load { int process; uint32_t image, plugin, unused; _Atomic uint64_t calls; };
    struct counts {
      _Atomic uint64_t process, finished, images, loads;
      _Atomic uint64_t before[NAMES], inside[NAMES];
      struct load load[\(mostLoads)];
    };
    extern struct counts *soak_counts;

    """

  static let pluginSource =
    shared + """
      #define JOIN_(a, b, c) a##b##c
      #define JOIN(a, b, c) JOIN_(a, b, c)
      static volatile int one = 1;
      KEEP int JOIN(plugin_, NUMBER, _leaf)(int value) {
        soak_counts->inside[PLUGIN + 3 * NUMBER]++;
        return value + one;
      }
      __attribute__((constructor)) KEEP void JOIN(plugin_, NUMBER, _begin)(void) {
        soak_counts->inside[PLUGIN + 3 * NUMBER + 1]++;
      }
      __attribute__((destructor)) KEEP void JOIN(plugin_, NUMBER, _end)(void) {
        soak_counts->inside[PLUGIN + 3 * NUMBER + 2]++;
      }

      """

  static let source = shared + functions + actions + main

  private static let functions = """
    #include <dlfcn.h>
    #include <fcntl.h>
    #include <pthread.h>
    #include <setjmp.h>
    #include <signal.h>
    #include <stdio.h>
    #include <stdlib.h>
    #include <string.h>
    #include <sys/mman.h>
    #include <sys/syscall.h>
    #include <sys/time.h>
    #include <sys/wait.h>
    #include <unistd.h>
    struct counts *soak_counts;
    static volatile int one = 1;
    static jmp_buf back;
    #define BEFORE(name, count) (soak_counts->before[name] += (count))
    #define INSIDE(name) (soak_counts->inside[name]++)

    KEEP int leaf(int value) { INSIDE(LEAF); return value + one; }
    KEEP int child_leaf(int value) { INSIDE(CHILD_LEAF); return value + 2 * one; }
    KEEP int lent_leaf(int value) { INSIDE(LENT_LEAF); return value + 3 * one; }
    KEEP int mid(int value) {
      INSIDE(MID);
      BEFORE(LEAF, 3);
      return leaf(value) + leaf(value) + leaf(value);
    }
    KEEP int deep(int depth) {
      INSIDE(DEEP);
      if (depth == 0) return 0;
      BEFORE(DEEP, 1);
      return deep(depth - 1) + one;
    }
    KEEP void jumper(int depth) {
      INSIDE(JUMPER);
      if (depth == 0) longjmp(back, 1);
      BEFORE(JUMPER, 1);
      jumper(depth - 1);
      one = one;
    }
    KEEP void in_handler(void) { INSIDE(IN_HANDLER); }


    """

  private static let actions = """
    static uint64_t state;
    OURS static uint64_t draw(uint64_t below) {
      uint64_t mixed = state += 0x9e3779b97f4a7c15;
      mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
      mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
      return (mixed ^ mixed >> 31) % below;
    }
    OURS static void handle(int number) { BEFORE(IN_HANDLER, 1); in_handler(); }
    OURS static void calls(int count) {
      for (int i = 0; i < count; i++) { BEFORE(LEAF, 1); leaf(i); }
      BEFORE(MID, 1); mid(count);
      BEFORE(DEEP, 1); deep(count % 100);
    }

    static struct { void *handle; int plugin; struct load *load; int (*leaf)(int); } held[\(paths)];
    static const char *folder;

    // Not a link: of one file there is one module, whatever its name.
    OURS static int copy(const char *from, const char *to) {
      static char bytes[1 << 16];
      int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0700);
      ssize_t count, written = 0;
      while (in >= 0 && out >= 0 && (count = read(in, bytes, sizeof bytes)) > 0)
        if (write(out, bytes, (size_t)count) == count) written += count;
      close(in);
      close(out);
      return written > 0;
    }
    OURS static void load(int place) {
      char from[600], to[600], fresh[600], name[64];
      int plugin = (int)draw(\(plugins));
      uint64_t number = soak_counts->loads;
      if (number >= \(mostLoads)) return;
      snprintf(from, sizeof from, "%s/plugin-%d.so", folder, plugin);
      snprintf(to, sizeof to, "%s/%d/plugin.so", folder, place);
      snprintf(fresh, sizeof fresh, "%s/%d/fresh", folder, place);
      if (!copy(from, fresh) || rename(fresh, to) != 0) exit(90);
      BEFORE(PLUGIN + 3 * plugin + 1, 1);
      void *handle = dlopen(to, RTLD_NOW | RTLD_LOCAL);
      if (handle == NULL) { fprintf(stderr, "%s\\n", dlerror()); exit(91); }
      if (draw(4) == 0) { if (dlopen(to, RTLD_NOW) != handle) exit(92); dlclose(handle); }
      snprintf(name, sizeof name, "plugin_%d_leaf", plugin);
      held[place].handle = handle;
      held[place].plugin = plugin;
      held[place].leaf = (int (*)(int))dlsym(handle, name);
      held[place].load = &soak_counts->load[number];
      held[place].load->process = getpid();
      held[place].load->image = (uint32_t)soak_counts->images;
      held[place].load->plugin = (uint32_t)plugin;
      if (held[place].leaf == NULL) exit(98);
      soak_counts->loads = number + 1;
    }
    OURS static void call_plugin(int place, int count) {
      if (held[place].handle == NULL) return;
      for (int i = 0; i < count; i++) {
        BEFORE(PLUGIN + 3 * held[place].plugin, 1);
        if (held[place].leaf(i) != i + 1) exit(93);
        held[place].load->calls++;
      }
    }
    OURS static void unload(int place) {
      if (held[place].handle == NULL) return;
      BEFORE(PLUGIN + 3 * held[place].plugin + 2, 1);
      dlclose(held[place].handle);
      held[place].handle = NULL;
    }
    OURS static void *in_thread(void *argument) {
      int number = (int)(intptr_t)argument;
      calls(number);
      for (int i = 0; i < \(paths); i++) call_plugin(i, number);
      return NULL;
    }
    OURS static void threads(int count) {
      pthread_t ids[4];
      for (int i = 0; i < count; i++)
        if (pthread_create(&ids[i], NULL, in_thread, (void *)(intptr_t)(i * 7 + 3)) != 0) exit(94);
      for (int i = 0; i < count; i++) pthread_join(ids[i], NULL);
    }
    OURS static void child(int way, int count) {
      pid_t id = way == 0 ? fork() : way == 1 ? (pid_t)syscall(SYS_fork) : vfork();
      if (id == 0) {
        for (int i = 0; i < count && way < 2; i++) { BEFORE(CHILD_LEAF, 1); child_leaf(i); }
        for (int i = 0; i < count && way == 2; i++) { BEFORE(LENT_LEAF, 1); lent_leaf(i); }
        if (way == 2) execl("/bin/true", "true", NULL);
        _exit(0);
      }
      int status = 0;
      while (waitpid(id, &status, 0) < 0) {}
      if (status != 0) exit(95);
    }
    OURS static void jump(int depth) {
      if (setjmp(back) == 0) { BEFORE(JUMPER, 1); jumper(depth); }
    }


    """

  private static let main = """
    OURS static void act(void) {
      int place = (int)draw(\(paths));
      switch (draw(16)) {
        case 0: calls((int)draw(2000)); break;
        case 1: case 2: case 3: unload(place); load(place); break;
        case 4: case 5: call_plugin(place, (int)draw(300)); break;
        case 6: unload(place); break;
        case 7: threads(1 + (int)draw(4)); break;
        case 8: child(0, (int)draw(50)); break;
        case 9: child(1, (int)draw(50)); break;
        case 10: child(2, (int)draw(50)); break;
        case 11: raise(SIGUSR1); break;
        case 12: jump((int)draw(40)); break;
        default: calls((int)draw(20)); call_plugin(place, 3); break;
      }
    }
    // counts, folder, seed, actions, execs
    OURS int main(int count, char **words) {
      int file = open(words[1], O_RDWR);
      soak_counts = mmap(NULL, sizeof *soak_counts, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
      if (soak_counts == MAP_FAILED) return 96;
      close(file);
      folder = words[2];
      state = strtoull(words[3], NULL, 10);
      int actions = atoi(words[4]), execs = atoi(words[5]);
      soak_counts->process = (uint64_t)getpid();
      struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
      sigaction(SIGUSR1, &action, NULL);
      sigaction(SIGPROF, &action, NULL);
      struct itimerval timer = {{0, 1000}, {0, 1000}};
      if (draw(2)) setitimer(ITIMER_PROF, &timer, NULL);
      for (int i = 0; i < actions; i++) act();
      for (int i = 0; i < \(paths); i++) unload(i);
      memset(&timer, 0, sizeof timer);
      setitimer(ITIMER_PROF, &timer, NULL);
      if (execs > 0) {
        char seed[32], rest[32];
        snprintf(seed, sizeof seed, "%llu", (unsigned long long)state);
        snprintf(rest, sizeof rest, "%d", execs - 1);
        soak_counts->images++;
        execl("/proc/self/exe", words[0], words[1], words[2], seed, words[4], rest, NULL);
        return 97;
      }
      soak_counts->finished = 1;
      return 42;
    }

    """
}
