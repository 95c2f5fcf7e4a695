// SPDX-License-Identifier: Apache-2.0

#ifndef NUL_IMAGE_H
#define NUL_IMAGE_H

/// The file that this code was loaded from, as the loader names it (a program: as it was started).
/// NULL if the loader does not know. In C because Swift's Glibc module leaves dladdr out.
const char *nul_image_path(void);

#endif
