// SPDX-License-Identifier: Apache-2.0
//
// The recorder: which call sites are to be traced, the plan that says so, and the server that
// answers the agents of traced processes.
//
//   FileSites          what the recorder knows of one file: sites, fixed flags, names
//   SiteCache          the same, kept between runs by build-id
//   Planner            FileSites + filters -> one action a site
//
//   EventLoop          waits for descriptors and times, and calls their handlers
//   AgentConnections   the processes that are connected, ending, or not connected yet
//   RecordingWriter    the recording's text files, warnings and sums
//   RecordServer       agents' messages -> plans; holds the three above together
//
//   TargetProcess      the program: its start, its signals, its end
//   RecordedRun        one run, from making the recording to closing it
