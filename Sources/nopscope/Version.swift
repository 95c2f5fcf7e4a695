// SPDX-License-Identifier: Apache-2.0

/// The version of the whole product, and its only place: `nopscope --version` prints it, and the
/// scripts that install and package ask that.
let nopscopeVersion = "0.4.0"
