// SPDX-License-Identifier: Apache-2.0
//
// Shows the cost of a start: one instrumented function, main, that does nothing.

int main(void) { return 0; }
