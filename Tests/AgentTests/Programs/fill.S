// SPDX-License-Identifier: Apache-2.0
// Linked last. Adds `fill` bytes of text, a symbol that the command line sets.
        .text
        .fill   fill, 1, 0xcc
        .section .note.GNU-stack, "", @progbits
