// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "faults.h"
#include "sabotage.h"

static struct {
  uint8_t *head, *changed;
  uint8_t trigger, value;
  int memory;
  bool armed, done, stepping;
  void (*deed)(void);
} plan;

static void *page_of(const void *address) { return (void *)((uintptr_t)address & ~4095ul); }

// One load of the patcher at a time: the page is opened for it, and closed by the step behind it.
static bool let_through(int signal, siginfo_t *info, void *context) {
  if (signal == SIGTRAP && plan.stepping) {
    plan.stepping = false;
    npc_fault_single_step(context, false);
    mprotect(page_of(plan.head), 4096, PROT_NONE);
    return true;
  }
  if (signal != SIGSEGV || !plan.armed || page_of(info->si_addr) != page_of(plan.head))
    return false;
  mprotect(page_of(plan.head), 4096, PROT_READ | PROT_EXEC);
  if (*plan.head == plan.trigger) {
    plan.armed = false;
    plan.done = pwrite(plan.memory, &plan.value, 1, (off_t)plan.changed) == 1;
    if (plan.deed) plan.deed();
  } else {
    plan.stepping = true;
    npc_fault_single_step(context, true);
  }
  return true;
}

int cts_change_at_read_back(uint8_t *head, uint8_t trigger, uint8_t *changed, uint8_t value) {
  int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  if (memory < 0) return errno;
  plan.head = head;
  plan.trigger = trigger;
  plan.changed = changed;
  plan.value = value;
  plan.memory = memory;
  plan.done = false;
  plan.armed = true;
  return npc_faults_add(let_through);
}

void cts_at_read_back(void (*deed)(void)) { plan.deed = deed; }

bool cts_read_back_was_changed(void) {
  plan.armed = false;
  plan.deed = NULL;
  close(plan.memory);
  return plan.done;
}
