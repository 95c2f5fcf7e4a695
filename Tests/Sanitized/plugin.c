// SPDX-License-Identifier: Apache-2.0
//
// A library whose function begins with a nop of five bytes, and is called by its constructor.

// The constructor calls with 7 in eax. The function returns 7, unless its nop has been replaced by
// `mov eax, 41`.
int plugin_value(void);
__asm__(
    ".text\n"
    ".globl plugin_value\n"
    ".type plugin_value, @function\n"
    ".p2align 4\n"
    "plugin_value:\n"
    "  .byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
    "  ret\n");

int plugin_constructed;
__attribute__((constructor)) static void construct(void) {
  int value = 7;
  __asm__ volatile("call plugin_value@PLT" : "+a"(value) : : "memory", "cc");
  plugin_constructed = value;
}
