// SPDX-License-Identifier: Apache-2.0
//
// The list of modules, memory near a module, and the jump in the loader.
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "CMachineCode.h"
#include "check.h"
#include "checks.h"
#include "specimen.h"

void check_modules(void) {
  static npc_module_copy records[64];
  size_t count = npc_modules_copy(records, 64);
  CHECK(count > 1 && count <= 64);
  CHECK(npc_modules_copy(records, 1) == count);
  uint64_t here = (uint64_t)(const void *)spec_begin;
  CHECK(records[0].text_start <= here && here < records[0].text_end);
  CHECK(records[0].build_id_length == 20);
}

void check_near_memory(void) {
  static npc_module_copy record;
  npc_modules_copy(&record, 1);
  for (int i = 0; i < 8; i++) {
    uint8_t *near = npc_map_near(record.span_start, record.span_end, 5000);
    CHECK(near != NULL);
    if (near == NULL) return;
    int64_t distance = (int64_t)((uint64_t)near - record.span_start);
    CHECK(llabs(distance) < 0x7fffffff);
    near[4999] = 1;
    CHECK(munmap(near, 8192) == 0);
  }
}

static int added, deleting, deleted;
static void heard(int event, void *context) {
  CHECK(context == &added);
  added += event == NPC_LOADER_ADDED;
  deleting += event == NPC_LOADER_DELETING;
  deleted += event == NPC_LOADER_DELETED;
}

static bool find(const npc_module *module, void *context) {
  npc_load_plan *plan = context;
  if (strstr(module->name, "plugin.so") == NULL) return false;
  uint8_t *id = malloc(module->build_id_length);
  memcpy(id, module->build_id, module->build_id_length);
  plan->build_id = id;
  plan->build_id_length = module->build_id_length;
  plan->load_bias = module->load_bias;
  return true;
}

// At each load the plugin's function is armed before the plugin's constructor calls it.
static void run_plan(const char *path, npc_load_plan *plan) {
  enum { TIMES = 50 };
  for (int i = 0; i < TIMES; i++) {
    void *handle = dlopen(path, RTLD_NOW);
    CHECK(handle != NULL);
    if (handle == NULL) return;
    const int *constructed = dlsym(handle, "plugin_constructed");
    CHECK(plan->loaded && plan->generation == (uint32_t)i + 1 && plan->result.status == NPC_OK);
    CHECK(constructed && *constructed == 41);  // its nop is `mov eax, 41` now
    CHECK(dlclose(handle) == 0);
    CHECK(!plan->loaded);
  }
  CHECK(added >= TIMES && deleting >= TIMES && deleted >= TIMES);
}

// Loads the plugin without a plan, to get its build-id and the address of its function.
static bool look_at_plugin(const char *path, npc_load_plan *plan, npc_poke *poke) {
  void *handle = path ? dlopen(path, RTLD_NOW) : NULL;
  CHECK(handle != NULL);
  if (handle == NULL) return false;
  CHECK(*(const int *)dlsym(handle, "plugin_constructed") == 7);
  CHECK(npc_modules_visit(find, plan));
  *poke = (npc_poke){.address = (uint64_t)dlsym(handle, "plugin_value") - plan->load_bias,
                     .length = 5, .expected_kind = NIK_NOP,
                     .expected = {0x0f, 0x1f, 0x44, 0x00, 0x00},
                     .replacement = {0xb8, 41, 0, 0, 0}};
  dlclose(handle);
  return true;
}

void check_loader_hook(void) {
  const char *path = getenv("SANITIZED_PLUGIN");
  npc_poke poke, scratch;
  nmc_decoder *decoder = nmc_decoder_create(NULL);
  npc_load_plan plan = {.writer = NPC_WRITER_MPROTECT, .verify = nmc_confirms,
                        .verifier = decoder, .pokes = &poke, .count = 1, .scratch = &scratch};
  if (!look_at_plugin(path, &plan, &poke)) return;
  CHECK(npc_patch_prepare() == 0);
  CHECK(npc_loader_hook_install(nmc_confirms, decoder) == 0 && npc_loader_hook_installed());
  CHECK(npc_loader_subscribe(heard, &added) == 0);
  npc_load_plan_add(&plan);
  run_plan(path, &plan);
  npc_load_plan_remove(&plan);
  npc_loader_unsubscribe(heard, &added);
  CHECK(npc_loader_hook_remove() == 0 && !npc_loader_hook_installed());
  int before = added;
  void *handle = dlopen(path, RTLD_NOW);
  CHECK(handle && added == before && *(const int *)dlsym(handle, "plugin_constructed") == 7);
  if (handle) dlclose(handle);
  nmc_decoder_destroy(decoder);
  free((void *)(uintptr_t)plan.build_id);
}
