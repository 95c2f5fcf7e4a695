// SPDX-License-Identifier: Apache-2.0
//
// The recorder: which sites a tracer wants, the plan that says so, and the server that answers the
// agents of traced processes.
//
//   SiteFilter     rules of ftrace's grammar -> wanted, graph function, or neither
//   FileSites      what the recorder knows of one file: sites, fixed flags, names
//   SiteCache      the same, kept between runs by build-id
//   Planner        FileSites + SiteFilter -> one action a site
//   RecordServer   agents' messages -> plans, and the recording's text files
