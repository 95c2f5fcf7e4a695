// SPDX-License-Identifier: Apache-2.0
//
// What the agent (C, in the traced program), the recorder (Swift, `nopscope record`) and the
// readers share: the layout of a recording, and the messages between agent and recorder.

#ifndef CRECORDINGABI_H
#define CRECORDINGABI_H

#include "nrec_arena.h"
#include "nrec_messages.h"
#include "nrec_notes.h"
#include "nrec_recording.h"
#include "nrec_visit.h"
#include "nrec_switches.h"

#endif
