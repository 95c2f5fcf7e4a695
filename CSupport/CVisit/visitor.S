// SPDX-License-Identifier: Apache-2.0
//
// What runs in the process that is visited: the helper, then the visitor. rbx: the nvi_block.

        .set    CREATE, 0
        .set    DETACH, 8
        .set    OPEN, 16
        .set    SYMBOL, 24
        .set    ERROR, 32
        .set    UNMAP, 40
        .set    MAPPING, 48
        .set    MAPPING_BYTES, 56
        .set    ARGUMENT, 64
        .set    DESCRIPTOR, 96
        .set    THREAD, 104
        .set    ERROR_TEXT, 112
        .set    HELPER, 120
        .set    CREATED, 124
        .set    RESULT, 128
        .set    STATE, 132
        .set    SEEN, 136
        .set    FUNCTION, 144
        .set    LIBRARY, 208

        .set    NO_THREAD, 1
        .set    NO_AGENT, 2
        .set    NO_FUNCTION, 3
        .set    DONE, 4

        .set    SYS_close, 3
        .set    SYS_nanosleep, 35
        .set    SYS_exit, 60
        .set    RTLD_NOW_NODELETE, 0x1002

        .section .rodata
        .balign 16
        .globl  nvi_code, nvi_code_end
        .hidden nvi_code, nvi_code_end
nvi_code:
        syscall
        testq   %rax, %rax
        jz      helper
        ud2                             // the stopped thread is released before it comes here

helper:
        xorl    %ebp, %ebp
        andq    $-16, %rsp
        leaq    THREAD(%rbx), %rdi
        xorl    %esi, %esi
        leaq    visitor(%rip), %rdx
        movq    %rbx, %rcx
        call    *CREATE(%rbx)
        movl    %eax, CREATED(%rbx)
        testl   %eax, %eax
        jz      1f
        movl    $NO_THREAD, STATE(%rbx)
1:      movl    $SYS_exit, %eax         // the kernel clears HELPER
        xorl    %edi, %edi
        syscall
        ud2

// void *visitor(void *block)
visitor:
        pushq   %rbx
        pushq   %rbp
        subq    $24, %rsp
        movq    %rdi, %rbx
        movq    THREAD(%rbx), %rdi
        call    *DETACH(%rbx)
        leaq    LIBRARY(%rbx), %rdi
        movl    $RTLD_NOW_NODELETE, %esi
        call    *OPEN(%rbx)
        movl    $NO_AGENT, %ebp
        testq   %rax, %rax
        jz      failed
        movq    %rax, %rdi
        leaq    FUNCTION(%rbx), %rsi
        call    *SYMBOL(%rbx)
        movl    $NO_FUNCTION, %ebp
        testq   %rax, %rax
        jz      failed
        leaq    ARGUMENT(%rbx), %rdi
        call    *%rax
        movl    %eax, RESULT(%rbx)
        movl    $DONE, %ebp
        jmp     finish
failed: call    *ERROR(%rbx)
        movq    %rax, ERROR_TEXT(%rbx)
        movq    DESCRIPTOR(%rbx), %rdi
        testq   %rdi, %rdi
        js      finish
        movl    $SYS_close, %eax
        syscall
finish: movl    %ebp, STATE(%rbx)
// Until the helper has gone and the recorder has read the block; the recorder may be gone, too.
        movl    $5000, %ebp
2:      movl    HELPER(%rbx), %eax
        testl   %eax, %eax
        jnz     3f
        movl    SEEN(%rbx), %eax
        testl   %eax, %eax
        jnz     4f
        testl   %ebp, %ebp
        jz      4f
3:      movq    $0, (%rsp)
        movq    $1000000, 8(%rsp)
        movq    %rsp, %rdi
        xorl    %esi, %esi
        movl    $SYS_nanosleep, %eax
        syscall
        subl    $1, %ebp
        jns     2b
        xorl    %ebp, %ebp
        jmp     2b
// munmap returns to this function's caller: this code is gone then.
4:      movq    MAPPING(%rbx), %rdi
        movq    MAPPING_BYTES(%rbx), %rsi
        movq    UNMAP(%rbx), %rax
        addq    $24, %rsp
        popq    %rbp
        popq    %rbx
        jmp     *%rax
nvi_code_end:

        .section .note.GNU-stack, "", @progbits
