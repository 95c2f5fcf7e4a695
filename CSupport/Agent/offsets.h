// SPDX-License-Identifier: Apache-2.0
//
// What the assembly needs to know of the C structures and of the recording's format: offsets, sizes
// and byte values. C asserts each of them where the structure is declared: thread_state.h,
// callgraph.c.

#ifndef NAG_OFFSETS_H
#define NAG_OFFSETS_H

// nag_tls
#define NAG_TLS_TOP 0        // next free shadow slot
#define NAG_TLS_END 8        // where the mapped slots end; 0: no slot is mapped
#define NAG_TLS_BUFFER 16    // nag_buffer, or 0
#define NAG_TLS_FLOOR 32     // below it a call may be on another stack
#define NAG_TLS_CHOICE 40    // the thread filter's word: see thread_filter_entry.S

// nag_slot
#define NAG_SLOT_RETURN 0    // the return address that was replaced
#define NAG_SLOT_STACK 8     // where on the stack it was replaced; all ones while the slot is free
#define NAG_SLOT_FUNCTION 24
#define NAG_SLOT_EXTRA 28    // for tracers that need it
#define NAG_SLOT_BYTES 32

// nag_buffer
#define NAG_BUFFER_CHUNK 0       // address of the thread's chunk; 0: none
#define NAG_BUFFER_COUNTS 8      // hits: the counters; 0: there are none
#define NAG_BUFFER_COUNTED 16    // hits: how many counters there are
#define NAG_BUFFER_TREE_TOP 24   // callgraph: the innermost frame
#define NAG_BUFFER_TREE_END 32   // callgraph: where the room for frames ends
#define NAG_BUFFER_STACK_LOW 40  // callgraph: the thread's own stack
#define NAG_BUFFER_STACK_SIZE 48
#define NAG_BUFFER_EPOCH 56      // function: of the chunk
#define NAG_BUFFER_CALLERS 256   // function: see function.S
#define NAG_BUFFER_CALLED 65792  // function: behind the callers
#define NAG_PAIRS 8192

// nag_node, of the call tree
#define NAG_NODE_SHARED 0
#define NAG_NODE_FUNCTION 8
#define NAG_NODE_KNOWN 40
#define NAG_KNOWN 16             // how many

// The recording's format: CRecordingABI.h
#define NAG_TIME_SHIFT 1         // NREC_TIME_SHIFT
#define NAG_EVENT_PARENT 0x50    // NREC_EVENT_PARENT
#define NAG_EVENT_ENTRY 0x60     // NREC_EVENT_ENTRY
#define NAG_CHUNK_STATE 40       // nrec_chunk_header: time << 16 | offset
#define NAG_CHUNK_HEADER 64
#define NAG_CHUNK_BYTES 65536
#define NAG_CHUNK_SLACK 32       // the longest write of the hot path

// The gate (nrec_arena.h), and marks of sites (nrec_messages.h)
#define NAG_GATE_OPEN 0          // NREC_GATE_OPEN
#define NAG_SITE_START 16        // NREC_SITE_START
#define NAG_SITE_STOP 32         // NREC_SITE_STOP
#define NAG_HANDLERS 16          // the flags that choose a handler are less

#include "Trampolines.h"  // NAG_SHADOW_DISTANCE

#endif
