// SPDX-License-Identifier: Apache-2.0
//
// Loads and stores that may fault. Each faulting instruction has a label. If it faults, the fault
// dispatcher continues at the landing; a kernel's exception table works the same way. Each store is
// one instruction, so that it is known which bytes a sibling CPU can see.

        .text

// bool npc_read_fixed_up(void *destination /*rdi*/, const void *source /*rsi*/,
//                         size_t length /*rdx*/)
        .globl  npc_read_fixed_up
        .type   npc_read_fixed_up, @function
        .p2align 4
npc_read_fixed_up:
        .cfi_startproc
1:      cmpq    $4, %rdx
        jb      2f
        .globl  npc_read_word_at
        .hidden npc_read_word_at
npc_read_word_at:
        movl    (%rsi), %eax
        movl    %eax, (%rdi)
        addq    $4, %rsi
        addq    $4, %rdi
        subq    $4, %rdx
        jmp     1b
2:      testq   %rdx, %rdx
        jz      3f
        .globl  npc_read_byte_at
        .hidden npc_read_byte_at
npc_read_byte_at:
        movb    (%rsi), %al
        movb    %al, (%rdi)
        incq    %rsi
        incq    %rdi
        decq    %rdx
        jmp     2b
3:      movl    $1, %eax
        ret
        .globl  npc_read_landing
        .hidden npc_read_landing
npc_read_landing:
        xorl    %eax, %eax
        ret
        .cfi_endproc
        .size   npc_read_fixed_up, . - npc_read_fixed_up

// uint64_t npc_read_site(const void *site /*rdi*/, size_t length /*rsi*/): returns five or six
// bytes in a register, the first one lowest; all ones where a load faulted. A transaction reads
// every site three times. If it read them into memory byte by byte, each read would wait for its
// own stores.
        .globl  npc_read_site
        .hidden npc_read_site
        .type   npc_read_site, @function
        .p2align 4
npc_read_site:
        .cfi_startproc
        .globl  npc_read_site_word_at
        .hidden npc_read_site_word_at
npc_read_site_word_at:
        movl    (%rdi), %eax
        .globl  npc_read_site_fifth_at
        .hidden npc_read_site_fifth_at
npc_read_site_fifth_at:
        movzbl  4(%rdi), %edx
        shlq    $32, %rdx
        orq     %rdx, %rax
        cmpq    $6, %rsi
        jne     1f
        .globl  npc_read_site_sixth_at
        .hidden npc_read_site_sixth_at
npc_read_site_sixth_at:
        movzbl  5(%rdi), %edx
        shlq    $40, %rdx
        orq     %rdx, %rax
1:      ret
        .globl  npc_read_site_landing
        .hidden npc_read_site_landing
npc_read_site_landing:
        movq    $-1, %rax
        ret
        .cfi_endproc
        .size   npc_read_site, . - npc_read_site

// bool npc_write_bytes(void *destination, const void *source, size_t length): byte stores.
        .globl  npc_write_bytes
        .hidden npc_write_bytes
        .type   npc_write_bytes, @function
        .p2align 4
npc_write_bytes:
        .cfi_startproc
1:      testq   %rdx, %rdx
        jz      2f
        movb    (%rsi), %al
        .globl  npc_write_byte_at
        .hidden npc_write_byte_at
npc_write_byte_at:
        movb    %al, (%rdi)
        incq    %rsi
        incq    %rdi
        decq    %rdx
        jmp     1b
2:      movl    $1, %eax
        ret
        .cfi_endproc
        .size   npc_write_bytes, . - npc_write_bytes

// bool npc_write_pair(void *destination, uint16_t pair): one 2-byte store.
        .globl  npc_write_pair
        .hidden npc_write_pair
        .type   npc_write_pair, @function
        .p2align 4
npc_write_pair:
        .cfi_startproc
        .globl  npc_write_pair_at
        .hidden npc_write_pair_at
npc_write_pair_at:
        movw    %si, (%rdi)
        movl    $1, %eax
        ret
        .globl  npc_write_landing
        .hidden npc_write_landing
npc_write_landing:
        xorl    %eax, %eax
        ret
        .cfi_endproc
        .size   npc_write_pair, . - npc_write_pair

// bool npc_swap_word(uint64_t *place, uint64_t expected, uint64_t replacement): compares and
// exchanges.
        .globl  npc_swap_word
        .hidden npc_swap_word
        .type   npc_swap_word, @function
        .p2align 4
npc_swap_word:
        .cfi_startproc
        movq    %rsi, %rax
        .globl  npc_swap_word_at
        .hidden npc_swap_word_at
npc_swap_word_at:
        lock cmpxchgq %rdx, (%rdi)
        sete    %al
        movzbl  %al, %eax
        ret
        .cfi_endproc
        .size   npc_swap_word, . - npc_swap_word

        .section .note.GNU-stack, "", @progbits
