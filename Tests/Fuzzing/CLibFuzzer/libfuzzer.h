// SPDX-License-Identifier: Apache-2.0
//
// What the driver calls of libFuzzer (LLVM's FuzzerInterface.h describes it).

#ifndef NOPSCOPE_LIBFUZZER_H
#define NOPSCOPE_LIBFUZZER_H

#include <stddef.h>
#include <stdint.h>

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

#endif
