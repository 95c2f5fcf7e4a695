// SPDX-License-Identifier: Apache-2.0

/// The version of the whole product: this is the only place that has it. `nopscope --version`
/// prints it, and scripts/install and scripts/package read it from there.
let nopscopeVersion = "0.4.0"

/// What `nopscope --version` prints.
let versionText = "nopscope \(nopscopeVersion)"
