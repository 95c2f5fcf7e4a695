// SPDX-License-Identifier: Apache-2.0
// The agent exports no interface to other targets: it is preloaded.
