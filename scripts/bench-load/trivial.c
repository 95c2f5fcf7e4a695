// SPDX-License-Identifier: Apache-2.0
//
// What starting up costs: one instrumented function, main, that does nothing.

int main(void) { return 0; }
