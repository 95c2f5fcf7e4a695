// SPDX-License-Identifier: Apache-2.0
//
// Runs the program of a system call filter, as the kernel will: it tells which of the agent's own
// calls the filter lets through. The language is classic BPF, with the instructions that seccomp(2)
// accepts.

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "agent.h"
#include "syscalls.h"

typedef struct machine {
  uint32_t a, x, memory[BPF_MEMWORDS];
  uint32_t at;            ///< the next instruction
} machine;

// The action, where the program ends here. Whether it does.
static bool returns(const machine *m, const struct sock_filter *one, uint32_t *action) {
  if (BPF_CLASS(one->code) != BPF_RET) return false;
  *action = BPF_RVAL(one->code) == BPF_A ? m->a : one->k;
  return true;
}

static bool calculate(machine *m, const struct sock_filter *one) {
  uint32_t value = BPF_SRC(one->code) == BPF_X ? m->x : one->k;
  switch (BPF_OP(one->code)) {
    case BPF_ADD: m->a += value; return true;
    case BPF_SUB: m->a -= value; return true;
    case BPF_MUL: m->a *= value; return true;
    case BPF_DIV: if (value != 0) m->a /= value; return value != 0;
    case BPF_OR: m->a |= value; return true;
    case BPF_AND: m->a &= value; return true;
    case BPF_XOR: m->a ^= value; return true;
    case BPF_LSH: m->a = value < 32 ? m->a << value : 0; return true;
    case BPF_RSH: m->a = value < 32 ? m->a >> value : 0; return true;
    case BPF_NEG: m->a = -m->a; return true;
    default: return false;
  }
}

static bool jump(machine *m, const struct sock_filter *one) {
  uint32_t value = BPF_SRC(one->code) == BPF_X ? m->x : one->k;
  bool is_so;
  switch (BPF_OP(one->code)) {
    case BPF_JA: m->at += one->k; return true;
    case BPF_JEQ: is_so = m->a == value; break;
    case BPF_JGT: is_so = m->a > value; break;
    case BPF_JGE: is_so = m->a >= value; break;
    case BPF_JSET: is_so = (m->a & value) != 0; break;
    default: return false;
  }
  m->at += is_so ? one->jt : one->jf;
  return true;
}

static bool load(machine *m, const struct sock_filter *one, const struct seccomp_data *data) {
  uint32_t value = one->k;
  switch (BPF_MODE(one->code)) {
    case BPF_IMM: break;
    case BPF_LEN: value = sizeof *data; break;
    case BPF_MEM:
      if (one->k >= BPF_MEMWORDS) return false;
      value = m->memory[one->k];
      break;
    case BPF_ABS:
      if (one->k > sizeof *data - sizeof value) return false;
      __builtin_memcpy(&value, (const uint8_t *)data + one->k, sizeof value);
      break;
    default: return false;
  }
  if (BPF_CLASS(one->code) == BPF_LD) m->a = value;
  else m->x = value;
  return true;
}

static bool step(machine *m, const struct sock_filter *one, const struct seccomp_data *data) {
  switch (BPF_CLASS(one->code)) {
    case BPF_LD: case BPF_LDX: return load(m, one, data);
    case BPF_ALU: return calculate(m, one);
    case BPF_JMP: return jump(m, one);
    case BPF_ST: case BPF_STX:
      if (one->k >= BPF_MEMWORDS) return false;
      m->memory[one->k] = BPF_CLASS(one->code) == BPF_ST ? m->a : m->x;
      return true;
    case BPF_MISC:
      if (BPF_MISCOP(one->code) == BPF_TAX) m->x = m->a;
      else m->a = m->x;
      return true;
    default: return false;
  }
}

uint32_t nag_filter_action(const struct sock_filter *code, uint32_t count,
                           const struct seccomp_data *call) {
  machine m = {0};
  uint32_t action;
  while (m.at < count) {  // jumps go forward only
    const struct sock_filter *one = &code[m.at++];
    if (returns(&m, one, &action)) return action & SECCOMP_RET_ACTION_FULL;
    if (!step(&m, one, call)) break;
  }
  return SECCOMP_RET_KILL_PROCESS;  // the kernel accepts no such program
}
