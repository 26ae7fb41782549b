import Glibc
import Synchronization

/// A file system in memory that loses what was not synced, for tests. Everything that chance decides
/// follows from the seed.
///
/// The faults it can show, which the log must survive: at `crash`, every 512-byte sector that was
/// written and not synced is kept, dropped or garbled on its own (so writes are torn and reordered), a
/// length that was not synced may be kept or not, and so may every name that was created, renamed or
/// removed since its directory was synced. A sync that fails leaves its pages clean and unwritten, as
/// Linux does. `onCall` can fail any call, count it, or let time pass in it; a write that it fails may have
/// written some of its bytes. `capacity` is the disk's size. What it does not show: bytes that were synced
/// never change by themselves (`flipBit`, `overwrite` and `makeUnreadable` do that).
package final class SimulatedFileSystem: FileSystem {
    /// The calls, as `onCall` sees them.
    package enum Call: String, Sendable, CaseIterable {
        case open, size, read, write, truncate, sync, lock, rename, remove, makeDirectory, removeDirectory
        case list, syncDirectory, syncAll, beginWriteBack, awaitWriteBack, beginWrite, endWrite
    }

    /// What a crash does with what was not synced.
    package enum Crash: Sendable, CaseIterable {
        /// The process died, the machine did not: everything written is there, still unsynced.
        case process
        /// Nothing unsynced is there.
        case dropAll
        /// Chance decides for every sector, length and name.
        case random
    }

    struct Node {
        var current: [UInt8] = []
        var durable: [UInt8] = []
        /// Sectors that a sync would write.
        var dirty: Set<Int> = []
        var isLocked = false
    }

    struct Directory {
        var names: [String: Int] = [:]
        var durable: [String: Int] = [:]
        /// Changes since the last sync: name, and the node it got (nil: removed). A rename is two
        /// changes of one group, which is kept or dropped as a whole.
        var changes: [[(name: String, node: Int?)]] = []
    }

    struct State {
        var random: SeededGenerator
        var nodes: [Int: Node] = [:]
        var directories: [Int: Directory] = [0: Directory()]
        var descriptors: [Int32: (node: Int, path: String, canWrite: Bool)] = [:]
        /// Descriptors of files that were opened to be written directly.
        var direct: Set<Int32> = []
        /// Durable writes that were begun and have not ended.
        var writes: [Int: WriteUnderWay] = [:]
        var nextWrite = 0
        var nextNode = 1
        var nextDescriptor: Int32 = 3
        var capacity = Int.max
        var onCall: ((Call, String) -> Int32?)?
        var volume = VolumeKind.disk
        /// Bytes by path whose reading fails with EIO.
        var unreadable: [String: Range<Int>] = [:]
    }

    let state: Mutex<State>
    static let sector = 512

    /// An empty file system; `/` exists.
    package init(seed: UInt64) { state = Mutex(State(random: SeededGenerator(seed: seed))) }

    /// A file system with the content of another, as a crash of the process would leave it.
    package init(copying other: SimulatedFileSystem, seed: UInt64) {
        state = Mutex(other.state.withLock { $0 })
        crash(.process)
        state.withLock { $0.random = SeededGenerator(seed: seed) }
    }

    /// Bytes that files may take together.
    package var capacity: Int {
        get { state.withLock { $0.capacity } }
        set { state.withLock { $0.capacity = newValue } }
    }

    /// Bytes that all files take which a name or a descriptor leads to.
    package var used: Int { state.withLock { $0.used } }

    /// Whether a file is open for writes past the page cache.
    package func isOpenDirectly(_ path: String) -> Bool {
        state.withLock { state in
            state.descriptors.contains { $0.value.path == path && state.direct.contains($0.key) }
        }
    }

    /// An errno for `onCall`: the call fails without any effect, as every call does once the machine is off.
    package static let machineIsOff: Int32 = ESHUTDOWN

    /// Called with every call and its path before it is made; an errno that it returns fails the call.
    /// What it calls of the file system it is called with too.
    package func onCall(_ hook: (@Sendable (Call, String) -> Int32?)?) { state.withLock { $0.onCall = hook } }

    /// What `volume(of:)` says.
    package func setVolume(_ kind: VolumeKind) { state.withLock { $0.volume = kind } }
}
