// SPDX-License-Identifier: Apache-2.0
//
// The smallest tracer: one counter, and no register is touched. Flags are dead at a call site.

        .text
        .globl  nul_count_entry
        .type   nul_count_entry, @function
        .p2align 4
nul_count_entry:
        .cfi_startproc
        lock incq entries(%rip)
        ret
        .cfi_endproc
        .size   nul_count_entry, . - nul_count_entry

        .globl  nul_entries
        .type   nul_entries, @function
        .p2align 4
nul_entries:
        .cfi_startproc
        movq    entries(%rip), %rax
        ret
        .cfi_endproc
        .size   nul_entries, . - nul_entries

        .local  entries
        .comm   entries, 8, 8

        .section .note.GNU-stack, "", @progbits
