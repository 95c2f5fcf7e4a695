// SPDX-License-Identifier: Apache-2.0
//
// Functions with call sites: spec_0 to spec_1023 return their argument plus their number. Their
// sites are at even addresses, except those of every 16th function, which straddle a 16-byte block.
// spec_run has five nops of one byte.

        .text
        .p2align 12
        .globl  spec_begin
spec_begin:
        .set    number, 0
        .rept   1024
        .p2align 4
        .if     number % 16 == 15
        .skip   15, 0x90
        .endif
        .byte   0x0f, 0x1f, 0x44, 0x00, 0x00
        leal    number(%rdi), %eax
        ret
        .set    number, number + 1
        .endr
        .p2align 12
        .globl  spec_run
        .type   spec_run, @function
spec_run:
        .byte   0x90, 0x90, 0x90, 0x90, 0x90
        leal    7(%rdi), %eax
        ret
        .globl  spec_call
        .type   spec_call, @function
        .p2align 4
spec_call:
        call    cts_count_entry
        leal    9(%rdi), %eax
        ret
        .p2align 12
        .globl  spec_end
spec_end:
        .section .note.GNU-stack, "", @progbits
