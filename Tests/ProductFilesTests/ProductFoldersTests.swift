// SPDX-License-Identifier: Apache-2.0

import ProductFiles
import Testing

/// Where the agent and the specimens are looked for.
@Suite struct ProductFoldersTests {
  @Test(
    "an installed program looks into its prefix, a built one into its build",
    arguments: [
      ("/usr/local/bin/nopscope", ["/usr/local/lib/nopscope", "/usr/local/bin"]),
      ("/bin/nopscope", ["/lib/nopscope", "/bin"]),
      ("/home/me/n-1/bin/nopscope", ["/home/me/n-1/lib/nopscope", "/home/me/n-1/bin"]),
      ("/tree/.build/any/release/nopscope", ["/tree/.build/any/release"]),
      ("/tree/.build/any/debug/nopscope", ["/tree/.build/any/debug", "/tree/.build/any/release"]),
      ("/nopscope", [""]),
      ("nopscope", []),
    ])
  func candidates(image: String, folders: [String]) {
    #expect(ProductFolders.candidates(forImage: image) == folders)
  }

  @Test("links are followed to the file that there is")
  func links() {
    #expect(ProductFolders.resolved("/proc/self/exe")?.hasPrefix("/proc") == false)
    #expect(ProductFolders.resolved("/no/such/file") == nil)
  }
}
