// SPDX-License-Identifier: Apache-2.0

unsigned square(unsigned x) { return x * x; }
