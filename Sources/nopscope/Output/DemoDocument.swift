// SPDX-License-Identifier: Apache-2.0

import UnloadLab

/// The document of `demo --json`.
struct DemoDocument: Encodable {
  var scenes: [SceneReport]
}
