// SPDX-License-Identifier: Apache-2.0

#ifndef NAG_TRAMPOLINES_H
#define NAG_TRAMPOLINES_H

// Trampolines and slots have equal strides; a slot is this far above its trampoline.
#define NAG_SHADOW_DISTANCE 0x7f000000

#ifndef __ASSEMBLER__
#include <stdint.h>

struct _Unwind_Exception;
struct _Unwind_Context;

/// What the trampolines' personality routine calls where an exception or a cancellation ends a hooked
/// frame: its own arguments, and where the unwinder called it. Returns an _Unwind_Reason_Code.
typedef int nag_unwinding(int version, int actions, uint64_t exception_class,
                          struct _Unwind_Exception *exception, struct _Unwind_Context *context,
                          const void *caller);
#endif

#endif
