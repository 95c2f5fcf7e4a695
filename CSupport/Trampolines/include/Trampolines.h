// SPDX-License-Identifier: Apache-2.0

#ifndef AGENTFRAMES_H
#define AGENTFRAMES_H

// Trampolines and slots have equal strides; a slot stands this far above its trampoline.
#define NAG_SHADOW_DISTANCE 0x7f000000

#endif
