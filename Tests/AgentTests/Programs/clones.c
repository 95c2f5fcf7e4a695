// Functions whose parameters an optimizer may change, and what it calls them with.
#include <stdio.h>

struct s {
  int a, b;
};

static __attribute__((noinline)) int pointed(struct s *p, int unused, int n) {
  for (volatile int i = 0; i < n; i++) {}
  return p->a + n;
}
static __attribute__((noinline)) int constant(int a, int b) {
  for (volatile int i = 0; i < a; i++) {}
  return a * b;
}
static __attribute__((noinline)) int dead(int unused, int n) {
  for (volatile int i = 0; i < n; i++) {}
  return n;
}

int main(int count, char **arguments) {
  struct s x = {count, 2};
  for (int i = 1; i < 4; i++) {
    int p = pointed(&x, 7, i), c = constant(i, 5), d = dead(99, i + count);
    printf("pointed(p=%p, unused=7, n=%d) = %d\nconstant(a=%d, b=5) = %d\n", (void *)&x, i, p, i, c);
    printf("dead(unused=99, n=%d) = %d\n", i + count, d);
  }
  return 0;
}
