// SPDX-License-Identifier: Apache-2.0
//
// The agent's end of the recorder's socket, which tests hold in its place.

#ifndef CTS_CONNECTING_H
#define CTS_CONNECTING_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// A SOCK_SEQPACKET socket connected to the one that listens at `path`, close-on-exec; -1 and errno.
int cts_connect(const char *path);

/// One packet with `count` descriptors, at most two: its length, 0 at the end, -1 and errno. A
/// descriptor that did not come is -1.
ssize_t cts_receive_descriptors(int socket, void *bytes, size_t size, int *descriptors, int count);

/// Sends one packet with `count` descriptors, at most two; -1 and errno.
ssize_t cts_send_descriptors(int socket, const void *bytes, size_t size, const int *descriptors,
                             int count);

/// A memory file of so many bytes that anybody may change and shorten; -1: there is none.
int cts_unsealed_file(uint64_t bytes);

#endif
