// SPDX-License-Identifier: Apache-2.0
//
// The table of tracers, built from the rows of tracer_table.h, and the choice among them.

#include "tracer.h"

enum {
#define ASSEMBLED(mode, ...) NAG_MODE_##mode,
#define IN_C(mode, ...) NAG_MODE_##mode,
#define IN_C_RETURNING(mode, ...) NAG_MODE_##mode,
#include "tracer_table.h"
  MODES,
};

#define HANDLER(name) extern const char name[] __attribute__((visibility("hidden")));
#define BOTH(name) HANDLER(name) HANDLER(name##_filtered)
#define HANDLERS(entry, mcount, entry_only, mcount_only)                                          \
  BOTH(entry) BOTH(mcount) BOTH(entry_only) BOTH(mcount_only)
#define HANDLERS_IN_C(mode)                                                                       \
  HANDLERS(nag_##mode##_entry, nag_##mode##_mcount, nag_##mode##_entry_only,                      \
           nag_##mode##_mcount_only)

HANDLER(nag_graph_exit)
HANDLER(nag_marked_exit)
#define NAG_DECLARE_TRACERS
#define ASSEMBLED(mode, entry, mcount, entry_only, mcount_only, return_handler_, ...)             \
  HANDLERS(entry, mcount, entry_only, mcount_only)
#define IN_C(mode, ...) HANDLERS_IN_C(mode)
#define IN_C_RETURNING(mode, ...) HANDLERS_IN_C(mode) HANDLER(nag_##mode##_exit)
#include "tracer_table.h"

#define ROW(mode, entry_, mcount_, entry_only_, mcount_only_, return_handler_, ...)               \
  [NAG_MODE_##mode] = {                                                                           \
    .handlers = {entry_, mcount_, entry_only_, mcount_only_},                                     \
    .filtered = {entry_##_filtered, mcount_##_filtered, entry_only_##_filtered,                   \
                 mcount_only_##_filtered},                                                        \
    .return_handler = return_handler_, __VA_ARGS__},
#define ROW_IN_C(mode, return_handler, ...)                                                       \
  ROW(mode, nag_##mode##_entry, nag_##mode##_mcount, nag_##mode##_entry_only,                     \
      nag_##mode##_mcount_only, return_handler, __VA_ARGS__)

static const nag_tracer tracers[] = {
#define ASSEMBLED(...) ROW(__VA_ARGS__)
#define IN_C(mode, enter, enter_only, ...) ROW_IN_C(mode, NULL, __VA_ARGS__)
#define IN_C_RETURNING(mode, enter, enter_only, leave, ...)                                       \
  ROW_IN_C(mode, nag_##mode##_exit, __VA_ARGS__)
#include "tracer_table.h"
};

// Whether the configuration requires a check of each single call.
static bool has_call_limits(const nrec_config *config) {
  return config->tracer == NREC_TRACER_GRAPH &&
         (config->only_in_graph || config->maximum_depth || config->threshold);
}

const nag_tracer *nag_tracer_choose(const nrec_config *config) {
  for (size_t i = 0; i < MODES; i++) {
    const nag_tracer *one = &tracers[i];
    if (one->number == config->tracer && one->limits_calls == has_call_limits(config) &&
        one->marks_calls == (config->snapshot_limit != 0 || config->reads_values != 0) &&
        (!one->needs_rseq || nag_rseq != 0))
      return one;
  }
  // The recorder asks for a tracer that this agent does not have. The file names that tracer, and
  // no reader can read it.
  return &tracers[NAG_MODE_slow_graph];
}

const nag_tracer *nag_tracer_off(void) { return &tracers[NAG_MODE_off]; }

const nag_tracer *nag_tracer_at_graph_sites(const nag_tracer *tracer) {
  return tracer->graph_sites ? &tracers[tracer->graph_sites] : tracer;
}
