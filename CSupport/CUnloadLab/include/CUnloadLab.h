// SPDX-License-Identifier: Apache-2.0
#ifndef CUNLOADLAB_H
#define CUNLOADLAB_H
#endif
