// SPDX-License-Identifier: Apache-2.0
// Linked last: text of as many bytes as the assembler is told.
        .text
        .fill   fill, 1, 0xcc
        .section .note.GNU-stack, "", @progbits
