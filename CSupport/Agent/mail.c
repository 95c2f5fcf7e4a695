// SPDX-License-Identifier: Apache-2.0
//
// Messages to the recorder, and its answers, through the arena. Messages are collected in a chunk
// and sent together. They are sent under the loader's load lock, or before a forked child's first
// event, so never by two threads at once.

#include "agent.h"
#include "syscalls.h"

enum { WAIT_SECONDS = 10, SPINS = 100 };

static nrec_chunk_header *open_mail(size_t room) {
  nag_process *process = nag_process_state;
  nrec_chunk_header *header = (nrec_chunk_header *)process->mail;
  if (header != NULL && header->size + room > NREC_CHUNK_BYTES) {
    nag_mail_send();
    header = NULL;
  }
  if (header != NULL) return header;
  header = (nrec_chunk_header *)nag_arena_take(1);
  if (header == NULL) return NULL;
  *header = (nrec_chunk_header){.size = sizeof *header, .kind = NREC_CHUNK_MESSAGES,
                                .sequence = process->mails++};
  process->mail = (uint8_t *)header;
  return header;
}

bool nag_mail_add(const void *message, size_t length) {
  size_t room = (sizeof(nrec_mail) + length + 7) & ~(size_t)7;
  nrec_chunk_header *header = open_mail(room);
  if (header == NULL) return false;
  nrec_mail *mail = (nrec_mail *)((uint8_t *)header + header->size);
  mail->length = (uint32_t)length;
  nag_copy(mail->message, message, length);
  header->size += (uint32_t)room;
  return true;
}

void nag_mail_send(void) {
  nrec_chunk_header *header = (nrec_chunk_header *)nag_process_state->mail;
  if (header == NULL) return;
  nag_process_state->mail = NULL;
  __atomic_store_n(&header->magic, NREC_CHUNK_MAGIC, __ATOMIC_RELEASE);
  nag_arena_hand_over(header);
}

// The answers that have come, the newest first.
static void fetch(void) {
  nag_process *process = nag_process_state;
  nrec_arena_process *place = nag_arena_place(process->place);
  uint8_t *first = nag_arena_numbered(__atomic_exchange_n(&place->answers, 0, __ATOMIC_ACQUIRE));
  if (first == NULL) return;
  uint8_t *last = first;
  for (uint8_t *next; (next = nag_arena_linked(last)) != NULL; last = next) {
  }
  nag_arena_link(last, process->answers);
  process->answers = first;
}

// Takes an answer from those that were fetched. Answers to older questions, which came too late, are
// given back.
static const nrec_answer *take(uint32_t generation) {
  nag_process *process = nag_process_state;
  uint8_t *before = NULL, *next;
  for (uint8_t *one = process->answers; one != NULL; one = next) {
    const nrec_answer *answer = (const nrec_answer *)one;
    next = nag_arena_linked(one);
    if (answer->plan.generation > generation) {
      before = one;
      continue;
    }
    if (before != NULL) nag_arena_link(before, next);
    else process->answers = next;
    if (answer->plan.generation == generation) return answer;
    const nrec_plan_message plan = answer->plan;
    nag_mail_done(answer, &plan);
  }
  return NULL;
}

const nrec_answer *nag_mail_answer(uint32_t generation) {
  nag_process *process = nag_process_state;
  uint32_t *answers = &nag_arena_place(process->place)->answers;
  uint64_t began = nag_time();
  for (uint32_t round = 0; !process->is_unanswered; round++) {
    fetch();
    const nrec_answer *answer = take(generation);
    if (answer != NULL) return answer;
    if (nag_arena_is_over() || nag_arena_is_late(began, WAIT_SECONDS))
      process->is_unanswered = true;
    else if (round < SPINS) __builtin_ia32_pause();
    else nag_arena_wait(answers, 0);
  }
  return NULL;
}

static uint64_t bytes_of(const nrec_plan_message *plan) {
  return sizeof(nrec_answer) + (uint64_t)plan->count * sizeof(nrec_plan_entry) +
         (uint64_t)plan->fetches * sizeof(nrec_fetch);
}

bool nag_mail_holds(const nrec_answer *answer, const nrec_plan_message *plan) {
  return nag_arena_holds(answer, bytes_of(plan));
}

void nag_mail_done(const nrec_answer *answer, const nrec_plan_message *plan) {
  nag_arena_give_back(answer, nag_mail_holds(answer, plan) ? nag_places_of(bytes_of(plan)) : 1);
}
