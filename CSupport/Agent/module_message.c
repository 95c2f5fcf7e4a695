// SPDX-License-Identifier: Apache-2.0
//
// What the recorder is shown of a module.

#include <sys/auxv.h>

#include "agent.h"
#include "syscalls.h"

static uint32_t fill_path(nrec_module_message *message, const char *name) {
  if (name == NULL || name[0] == 0) {  // the program
    int64_t linked = NAG_CALL(SYS_readlink, "/proc/self/exe", message->path,
                              sizeof message->path - 1);
    if (linked > 0) return (uint32_t)linked;
    name = (const char *)getauxval(AT_EXECFN);  // where /proc is not mounted
    if (name == NULL) return 0;
  }
  uint32_t length = 0;
  while (name[length] && length < sizeof message->path - 1) length++;
  nag_copy(message->path, name, length);
  return length;
}

void nag_module_describe(nrec_module_message *message, const npc_module *module,
                         uint32_t generation) {
  message->message = NREC_MESSAGE_MODULE;
  message->generation = generation;
  message->load_bias = module->load_bias;
  message->text_start = module->text_start;
  message->text_end = module->text_end;
  message->time = nag_time();
  message->build_id_length =
      module->build_id_length <= sizeof message->build_id ? module->build_id_length : 0;
  nag_copy(message->build_id, module->build_id, message->build_id_length);
  message->path_length = fill_path(message, module->name);
}
