// SPDX-License-Identifier: Apache-2.0
//
// Tracer `function`: which function was called from where. A function and a return address make a
// pair; a hash gives the pair its number. Where the chunk already defines the pair, only its number
// is written. Otherwise ENTRY and PARENT define it (CRecordingABI.h). The buffer keeps which pairs
// the chunk has defined:
//
//     callers[pair] = return address << 16 | epoch           (zero: nothing)
//     called[pair]  = function
//
// A new chunk gets a new epoch, so that it can be read alone. Before a pair is defined, its place
// in `callers` is cleared. After ENTRY and PARENT are committed, the place is filled only if it is
// still clear: otherwise a signal handler has meanwhile defined another pair with the same number.

#include "stubs.h"

        .text

        .macro  FUNCTION_ENTRY name, location, slow
        BEGIN   \name, 6
        PUSH    %rsi
        PUSH    %rdi
        SAVE
        movq    nag_self@gottpoff(%rip), %r9
        BUFFER  9f
        EVENT   \name, 9f
        LOCATION \location, SAVED+16, %rsi
        movq    (%rsi), %rsi
        leal    (%r11,%r11,8), %edi
        addl    %esi, %edi
        andl    $(NAG_PAIRS - 1), %edi
        shlq    $16, %rsi
        movw    NAG_BUFFER_EPOCH(%r9), %si
        cmpq    %rsi, NAG_BUFFER_CALLERS(%r9,%rdi,8)
        jne     5f
        cmpl    %r11d, NAG_BUFFER_CALLED(%r9,%rdi,4)
        jne     5f
        SHORT_ENTRY %rdi, %edi, 4f, 5f
4:      xorl    %r8d, %r8d
        jmp     6f
5:      cmpq    $0xffffff, %r8
        ja      9f
        movq    $0, NAG_BUFFER_CALLERS(%r9,%rdi,8)
        movl    %r11d, NAG_BUFFER_CALLED(%r9,%rdi,4)
        LONG_ENTRY
        movq    %rsi, %rcx
        shrq    $16, %rcx
        shlq    $8, %rcx
        orq     $NAG_EVENT_PARENT, %rcx
        movq    %rcx, 8(%rax)
        addq    $16, %rdx
        movl    $1, %r8d
6:      COMMIT  \name
        testl   %r8d, %r8d
        jz      8f
        xorl    %eax, %eax
        cmpxchgq %rsi, NAG_BUFFER_CALLERS(%r9,%rdi,8)
8:      RESTORE
        POP     %rdi
        POP     %rsi
        LEAVE
        RESUME  SAVED+16
9:      RESTORE
        POP     %rdi
        POP     %rsi
        jmp     \slow
        RESUME  SAVED+16
        RESTART \name
        END     \name
        .endm

        FUNCTION_ENTRY nag_function_entry, entry, nag_slow_function_entry
        FUNCTION_ENTRY nag_function_mcount, frame, nag_slow_function_mcount

        .section .note.GNU-stack, "", @progbits
