// SPDX-License-Identifier: Apache-2.0

/// C programs for fixtures.
public enum FixtureSource {
  /// Functions of every shape that moves a call site within its function: leaves, calls, a big
  /// frame, a realigned stack, variadic and floating-point arguments, recursion, a switch, cold
  /// paths, static ones, and one that must not be instrumented.
  public static let shapes = """
    #include <stdarg.h>
    extern int printf(const char *, ...);
    extern void abort(void);
    volatile int sink;
    #define KEEP __attribute__((noinline, used))
    KEEP void empty(void) {}
    KEEP int leaf(int a, int b) { return a * 3 + b; }
    KEEP static int hidden(int a) { sink += a; return a ^ sink; }
    KEEP double floating(double a, float b) { return a * b + sink; }
    KEEP int recursive(int n) { return n < 2 ? 1 : n * recursive(n - 1) + hidden(n); }
    KEEP int big_frame(int n) {
      volatile char room[5000];
      room[n] = (char)n;
      return room[0] + room[4999];
    }
    KEEP int realigned(int n) {
      volatile int room[64] __attribute__((aligned(64)));
      room[n & 63] = n;
      return hidden(room[3]) + room[0];
    }
    KEEP int variadic(int n, ...) {
      va_list list;
      va_start(list, n);
      int sum = 0;
      while (n--) sum += va_arg(list, int);
      va_end(list);
      return sum;
    }
    KEEP int many_arguments(int a, int b, int c, int d, int e, int f, int g, int h) {
      return a + b * c - d * e + f * g - h;
    }
    KEEP int choose(int n) {
      switch (n) {
        case 0: return leaf(1, 2);
        case 1: return hidden(3);
        case 2: return recursive(4);
        case 3: return big_frame(5);
        case 7: return realigned(6);
        default: break;
      }
      if (__builtin_expect(n == 99, 0)) { printf("cold %d\\n", n); abort(); }
      return 0;
    }
    __attribute__((noinline, used, no_instrument_function)) int untouched(int a) { return a + 1; }
    int main(int argc, char **argv) {
      (void)argv;
      empty();
      return choose(argc) + untouched(argc) + variadic(2, 1, 2) + (int)floating(1, 2)
        + many_arguments(1, 2, 3, 4, 5, 6, 7, 8);
    }
    """

  /// The names of `shapes`' functions that a compiler instruments.
  public static let instrumented: Set<String> = [
    "empty", "leaf", "hidden", "floating", "recursive", "big_frame", "realigned", "variadic",
    "many_arguments", "choose", "main",
  ]
}
