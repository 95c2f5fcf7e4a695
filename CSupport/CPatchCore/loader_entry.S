// SPDX-License-Identifier: Apache-2.0
//
// The loader's debug hook jumps here instead of returning. This is an ordinary function, except
// that it keeps every register that its caller may be using: ld.so was compiled knowing that the
// function it calls is empty.
//
//   rsp on entry  -> return address into ld.so
//   9 pushes      -> rax rcx rdx rsi rdi r8 r9 r10 r11   (rsp is 16-byte aligned after them)

        .text
        .globl  npc_loader_entry
        .hidden npc_loader_entry
        .type   npc_loader_entry, @function
        .p2align 4
npc_loader_entry:
        pushq   %rax
        pushq   %rcx
        pushq   %rdx
        pushq   %rsi
        pushq   %rdi
        pushq   %r8
        pushq   %r9
        pushq   %r10
        pushq   %r11
        subq    $256, %rsp
        movdqu  %xmm0, (%rsp)
        movdqu  %xmm1, 16(%rsp)
        movdqu  %xmm2, 32(%rsp)
        movdqu  %xmm3, 48(%rsp)
        movdqu  %xmm4, 64(%rsp)
        movdqu  %xmm5, 80(%rsp)
        movdqu  %xmm6, 96(%rsp)
        movdqu  %xmm7, 112(%rsp)
        movdqu  %xmm8, 128(%rsp)
        movdqu  %xmm9, 144(%rsp)
        movdqu  %xmm10, 160(%rsp)
        movdqu  %xmm11, 176(%rsp)
        movdqu  %xmm12, 192(%rsp)
        movdqu  %xmm13, 208(%rsp)
        movdqu  %xmm14, 224(%rsp)
        movdqu  %xmm15, 240(%rsp)
        callq   npc_loader_announced
        movdqu  (%rsp), %xmm0
        movdqu  16(%rsp), %xmm1
        movdqu  32(%rsp), %xmm2
        movdqu  48(%rsp), %xmm3
        movdqu  64(%rsp), %xmm4
        movdqu  80(%rsp), %xmm5
        movdqu  96(%rsp), %xmm6
        movdqu  112(%rsp), %xmm7
        movdqu  128(%rsp), %xmm8
        movdqu  144(%rsp), %xmm9
        movdqu  160(%rsp), %xmm10
        movdqu  176(%rsp), %xmm11
        movdqu  192(%rsp), %xmm12
        movdqu  208(%rsp), %xmm13
        movdqu  224(%rsp), %xmm14
        movdqu  240(%rsp), %xmm15
        addq    $256, %rsp
        popq    %r11
        popq    %r10
        popq    %r9
        popq    %r8
        popq    %rdi
        popq    %rsi
        popq    %rdx
        popq    %rcx
        popq    %rax
        ret
        .size   npc_loader_entry, . - npc_loader_entry

        .section .note.GNU-stack, "", @progbits
