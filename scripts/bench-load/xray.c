// SPDX-License-Identifier: Apache-2.0
//
// Turns on XRay's flight data recorder for the whole run of a program that is linked with it, with
// buffers for all of its calls. With its default settings, XRay leaves out calls shorter than 5 us
// and drops calls that find no buffer. Writes the log into the working directory at the end. Linked
// with --wrap=main: the runtime registers its modes in constructors that run after ours. LLVM's
// xray/xray_log_interface.h, which is C++, declares the functions.

#include <stdio.h>
#include <stdlib.h>

enum { initialized = 2, patched = 1 };

int __xray_log_select_mode(const char *mode);
int __xray_log_init_mode(const char *mode, const char *config);
int __xray_log_finalize(void);
int __xray_log_flushLog(void);
int __xray_patch(void);

int __real_main(int count, char **words, char **environment);
int __wrap_main(int count, char **words, char **environment);

static void end(void) {
  __xray_log_finalize();
  __xray_log_flushLog();
}

int __wrap_main(int count, char **words, char **environment) {
  __xray_log_select_mode("xray-fdr");
  int status = __xray_log_init_mode(
      "xray-fdr", "buffer_size=1048576:buffer_max=1200:func_duration_threshold_us=0");
  if (status != initialized || __xray_patch() != patched) {
    fprintf(stderr, "XRay FDR does not start: its status is %d\n", status);
    return 125;
  }
  atexit(end);
  return __real_main(count, words, environment);
}
