// SPDX-License-Identifier: Apache-2.0
//
// The smallest tracer: it adds to one counter and changes no register. It changes the flags, which
// hold no value at a call site.

        .text
        .globl  cts_count_entry
        .type   cts_count_entry, @function
        .p2align 4
cts_count_entry:
        .cfi_startproc
        lock incq cts_entry_count(%rip)
        ret
        .cfi_endproc
        .size   cts_count_entry, . - cts_count_entry

        .globl  cts_entries
        .type   cts_entries, @function
        .p2align 4
cts_entries:
        .cfi_startproc
        movq    cts_entry_count(%rip), %rax
        ret
        .cfi_endproc
        .size   cts_entries, . - cts_entries

        .local  cts_entry_count
        .comm   cts_entry_count, 8, 8

        .section .note.GNU-stack, "", @progbits
