// SPDX-License-Identifier: Apache-2.0

#ifndef NAG_TRAMPOLINES_H
#define NAG_TRAMPOLINES_H

// Trampolines and slots have equal strides; a slot is this far above its trampoline.
#define NAG_SHADOW_DISTANCE 0x7f000000

#endif
