// SPDX-License-Identifier: Apache-2.0
//
// Executes traced calls one instruction at a time. At every instruction in the agent it takes a
// backtrace, which must reach main. A restartable sequence begins anew after each step, so stepping
// ends where an instruction comes again too often.
//
// usage: steps CALLS

#define _GNU_SOURCE
#include <dlfcn.h>
#include <execinfo.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define PLAIN __attribute__((noinline, no_instrument_function))

enum { TRAP_FLAG = 0x100, DEPTH = 64, SAME = 4, PLACES = 65536 };

static volatile int steps, in_agent, lost, sum;
static uint64_t agent_start, agent_end, first_lost;
static uint8_t seen[PLACES];

__attribute__((noinline)) int leaf(int a) { return a + sum; }
__attribute__((noinline)) int branch(int a) { return leaf(a) + leaf(a + 1); }

// main alone is in this section.
extern char __start_text_of_main, __stop_text_of_main;

PLAIN static void stepped(int signal, siginfo_t *information, void *context) {
  (void)signal, (void)information;
  ucontext_t *user = context;
  uint64_t pc = (uint64_t)user->uc_mcontext.gregs[REG_RIP];
  steps++;
  if (pc < agent_start || pc >= agent_end) return;
  // Stepping would repeat a restartable sequence for ever.
  if (++seen[(pc - agent_start) % PLACES] % SAME == 0) {
    user->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
    return;
  }
  in_agent++;
  void *frames[DEPTH];
  int count = backtrace(frames, DEPTH), is_whole = 0;
  for (int i = 0; i < count; i++)
    is_whole |= (char *)frames[i] >= &__start_text_of_main && (char *)frames[i] < &__stop_text_of_main;
  if (is_whole) return;
  if (lost++ == 0) first_lost = pc - agent_start;
}

PLAIN static void set_stepping(void) {
  __asm__ volatile("pushfq\n\torq %0, (%%rsp)\n\tpopfq" : : "i"(TRAP_FLAG) : "cc", "memory");
}
PLAIN static void clear_stepping(void) {
  __asm__ volatile("pushfq\n\tandq %0, (%%rsp)\n\tpopfq" : : "i"(~TRAP_FLAG) : "cc", "memory");
}

// The agent's text, from the list of mappings.
PLAIN static void find_agent(void) {
  char line[4096];
  FILE *maps = fopen("/proc/self/maps", "r");
  while (maps != NULL && fgets(line, sizeof line, maps) != NULL) {
    uint64_t start, end;
    if (strstr(line, "libNopscopeAgent.so") == NULL || strstr(line, " r-xp ") == NULL) continue;
    if (sscanf(line, "%lx-%lx", &start, &end) != 2) continue;
    agent_start = start, agent_end = end;
  }
  if (maps != NULL) fclose(maps);
}

PLAIN __attribute__((section("text_of_main"))) int main(int count, char **words) {
  int calls = count > 1 ? atoi(words[1]) : 20;
  void *warm[4];
  backtrace(warm, 4);
  branch(1);
  find_agent();
  struct sigaction action = {.sa_sigaction = stepped, .sa_flags = SA_SIGINFO};
  sigaction(SIGTRAP, &action, NULL);
  int result = 0;
  for (int i = 0; i < calls; i++) {
    set_stepping();
    result += branch(i);
    clear_stepping();
  }
  printf("%d", result);
  fprintf(stderr, "steps %d, in the agent %d, main not reached %d\n", steps > 0, in_agent > 0, lost);
  if (lost > 0) fprintf(stderr, "first at agent+%#lx\n", first_lost);
  return agent_start != 0 && (lost != 0 || in_agent == 0);
}
