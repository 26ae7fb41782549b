/// The channels of a log by id. An id is never given twice, so most of those ever given may be gone: memory is taken a page
/// of ids at a time, where a channel lives, and not for what a file says of ids. Owned by the log's loop.
@safe
final class ChannelTable: Sequence {
    /// The hot part of a channel; nil where no channel has the id.
    typealias Slot = UnsafeMutablePointer<ChannelHot>?

    /// An id's page is its upper bits, its place in the page the lower ones.
    static let pageBits = 9
    static let pageSize = 1 << pageBits

    @safe private final class Page {
        var states = [ChannelState?](repeating: nil, count: ChannelTable.pageSize)
        var living = 0
        /// `pageSize` slots, allocated for the life of the page.
        let slots: UnsafeMutablePointer<Slot>

        init() {
            unsafe slots = .allocate(capacity: ChannelTable.pageSize)
            unsafe slots.initialize(repeating: nil, count: ChannelTable.pageSize)
        }

        deinit { unsafe slots.deallocate() }
    }

    private var pages: [Page?] = []
    /// The slots of each page, `directoryCount` of them; nil where no channel of the page lives.
    private(set) var directory: UnsafeMutablePointer<UnsafeMutablePointer<Slot>?>
    private(set) var directoryCount = 64
    /// The next id to be given. No channel has id 0.
    private(set) var nextID = 1

    init() {
        unsafe directory = .allocate(capacity: directoryCount)
        unsafe directory.initialize(repeating: nil, count: directoryCount)
    }

    deinit { unsafe directory.deallocate() }

    /// Sees to it that no id below `id` is given any more.
    func skip(to id: Int) { nextID = Swift.max(nextID, id) }

    /// The channel of an id, whatever the id is.
    subscript(id: Int) -> ChannelState? {
        get {
            let page = id >> Self.pageBits
            return pages.indices.contains(page) ? pages[page]?.states[id & (Self.pageSize - 1)] : nil
        }
        set {
            let number = id >> Self.pageBits
            guard let page = page(number, isNeeded: newValue != nil) else { return }
            let place = id & (Self.pageSize - 1)
            page.living += (newValue == nil ? 0 : 1) - (page.states[place] == nil ? 0 : 1)
            page.states[place] = newValue
            unsafe page.slots[place] = newValue?.hot
            skip(to: id + 1)
            guard page.living == 0 else { return }
            pages[number] = nil
            unsafe directory[number] = nil
        }
    }

    /// The page of that number; made if it is needed.
    private func page(_ number: Int, isNeeded: Bool) -> Page? {
        if pages.indices.contains(number), let page = pages[number] { return page }
        guard isNeeded else { return nil }
        while pages.count <= number { pages.append(nil) }
        if number >= directoryCount { growDirectory(to: Swift.max(number + 1, directoryCount * 2)) }
        let page = Page()
        pages[number] = page
        unsafe directory[number] = page.slots
        return page
    }

    private func growDirectory(to count: Int) {
        let larger = UnsafeMutablePointer<UnsafeMutablePointer<Slot>?>.allocate(capacity: count)
        unsafe larger.initialize(repeating: nil, count: count)
        for page in 0..<directoryCount { unsafe larger[page] = directory[page] }
        unsafe directory.deallocate()
        unsafe directory = larger
        directoryCount = count
    }

    /// Goes through the channels, oldest first. Channels may be added and removed meanwhile.
    struct Iterator: IteratorProtocol {
        fileprivate let table: ChannelTable
        fileprivate var id = 0

        mutating func next() -> ChannelState? {
            while id < table.nextID {
                let page = id >> ChannelTable.pageBits
                guard table.pages.indices.contains(page) else { return nil }
                guard let states = table.pages[page]?.states else {
                    id = (page + 1) << ChannelTable.pageBits
                    continue
                }
                let state = states[id & (ChannelTable.pageSize - 1)]
                id += 1
                if let state { return state }
            }
            return nil
        }
    }

    func makeIterator() -> Iterator { Iterator(table: self) }
}
