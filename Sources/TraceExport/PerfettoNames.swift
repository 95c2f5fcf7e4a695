// SPDX-License-Identifier: Apache-2.0

import RecordingReader

/// The names that one packet sequence has defined: functions as event names, modules as categories, source
/// lines under the numbers of their functions' names.
struct PerfettoNames {
  struct Interned {
    var name: UInt32
    /// 0: none.
    var category: UInt32
    var hasSource = false
  }

  private var sequence: UInt32 = 0
  /// By the function's index: the sequence that defined it, and how.
  private var told: [(sequence: UInt32, interned: Interned)] = []
  private var nextName: UInt32 = 1
  private var categories: [String: UInt32] = [:]

  mutating func beginSequence() {
    sequence += 1
    nextName = 1
    categories = [:]
  }

  /// How a function is called in this sequence, and what its first event must tell.
  @inline(__always)
  mutating func name(
    _ index: Int32, _ functions: borrowing ExportedFunctions
  ) -> (Interned, ProtobufMessage?) {
    let place = Int(index)
    if place < told.count && told[place].sequence == sequence { return (told[place].interned, nil) }
    return tell(place, functions.all[place])
  }

  private mutating func tell(
    _ place: Int, _ function: ExportedFunctions.Known
  ) -> (Interned, ProtobufMessage?) {
    var data = ProtobufMessage()
    var interned = Interned(name: nextName, category: 0)
    nextName += 1
    data.add(2) { name in
      name.add(1, UInt64(interned.name))
      name.add(2, function.label)
    }
    if !function.module.isEmpty {
      let module = function.moduleName
      if let known = categories[module] {
        interned.category = known
      } else {
        interned.category = UInt32(categories.count + 1)
        categories[module] = interned.category
        data.add(1) { category in
          category.add(1, UInt64(interned.category))
          category.add(2, module)
        }
      }
    }
    if let source = function.source {
      interned.hasSource = true
      data.add(4) { location in
        location.add(1, UInt64(interned.name))
        location.add(2, source.file)
        location.add(4, UInt64(source.line))
      }
    }
    while told.count <= place { told.append((0, Interned(name: 0, category: 0))) }
    told[place] = (sequence, interned)
    return (interned, data)
  }
}
