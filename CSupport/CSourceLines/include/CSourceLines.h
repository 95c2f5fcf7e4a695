// SPDX-License-Identifier: Apache-2.0
//
// Where functions are defined, and what they take and return, by the DWARF of their files. The only
// target that uses elfutils' libdw.
//
// The files are the traced program's, and DWARF is large and easily damaged. So a process of its own
// reads it, forked from the caller: it may take its time, its memory or crash, and what it costs are
// source lines. It writes each line that it finds to memory that both share, so that what it had
// found counts where it is ended.

#ifndef CSOURCELINES_H
#define CSOURCELINES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// A file, and what is wanted of it.
typedef struct nsl_module {
  const char *path;           ///< of the file that has the DWARF
  const uint64_t *addresses;  ///< link-time, ascending: each in a function, near its beginning
  uint32_t count;
} nsl_module;

/// Where a function is defined.
typedef struct nsl_line {
  uint32_t line;              ///< from 1; 0: not known
  uint32_t file;              ///< in the answer's files, where the line is known
} nsl_line;

typedef enum nsl_result {
  NSL_DONE,
  NSL_NO_LIBRARY,             ///< there is no libdw here, or one from before 0.171
  NSL_NO_TIME,                ///< some were not looked for
  NSL_NO_MEMORY,              ///< there is no memory, or no process, for it
} nsl_result;

typedef struct nsl_answer {
  const nsl_line *lines;      ///< one for each address of the first module, then of the second...
  const uint32_t *names;      ///< by file: where its name begins in `text`
  const char *text;           ///< ends with a NUL
  uint32_t files, text_bytes;
  uint32_t failures;          ///< modules whose reader crashed
  uint32_t failed;            ///< the last of them
  void *memory;
  size_t size;
} nsl_answer;

/// Looks for at most so long. `library` is libdw's file name, for dlopen. Whatever it returns,
/// `answer` holds what was found, until it is freed.
nsl_result nsl_read(const char *library, const nsl_module *modules, uint32_t count,
                    uint64_t nanoseconds, nsl_answer *answer);
void nsl_free(nsl_answer *answer);

/// What functions take and return, as text: signatures.c says how.
typedef struct nsl_text {
  const char *text;
  size_t length;
  void *memory;
  size_t size;
} nsl_text;

/// Looks for at most so long. Whatever it returns, `answer` holds what was found, until it is freed.
/// `has_failed`: the reader crashed.
nsl_result nsl_read_signatures(const char *library, const nsl_module *module, uint64_t nanoseconds,
                               nsl_text *answer, bool *has_failed);
void nsl_free_text(nsl_text *answer);

#endif
