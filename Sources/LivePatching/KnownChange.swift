public struct KnownChange: Equatable, Sendable {
  public var address: UInt64
  public var original: [UInt8]
  public var current: [UInt8]
}
