// SPDX-License-Identifier: Apache-2.0
//
// The functions of libFuzzer that the driver calls (LLVM's FuzzerInterface.h describes them).

#ifndef NOPSCOPE_LIBFUZZER_H
#define NOPSCOPE_LIBFUZZER_H

#include <stddef.h>
#include <stdint.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

#endif
