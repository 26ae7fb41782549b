import BrokerClient

/// The body of `pub`: `{{Count}}`, `{{TimeStamp}}`, `{{Unix}}`, `{{UnixNano}}`, `{{ID}}` and `{{Random n}}` stand for values
/// of each message.
struct MessageTemplate {
    private enum Part {
        case text([UInt8])
        case count, timeStamp, unix, unixNano, id
        case random(Int)
    }
    private var parts: [Part] = []

    /// Takes a text apart; what is no known name in braces stays as it is.
    init(_ text: [UInt8]) {
        var rest = text[...]
        var plain: [UInt8] = []
        let (open, close) = (Array("{{".utf8), Array("}}".utf8))
        while !rest.isEmpty {
            if rest.starts(with: open), let end = rest.firstRange(of: close),
                let part = Self.part(
                    named: String(decoding: rest[(rest.startIndex + 2)..<end.lowerBound], as: UTF8.self))
            {
                if !plain.isEmpty { parts.append(.text(plain)) }
                plain = []
                parts.append(part)
                rest = rest[end.upperBound...]
            } else {
                plain.append(rest.removeFirst())
            }
        }
        if !plain.isEmpty { parts.append(.text(plain)) }
    }

    private static func part(named name: String) -> Part? {
        let words = name.split(separator: " ")
        switch words.first {
        case "Count" where words.count == 1: return .count
        case "TimeStamp" where words.count == 1, "Time" where words.count == 1: return .timeStamp
        case "Unix" where words.count == 1: return .unix
        case "UnixNano" where words.count == 1: return .unixNano
        case "ID" where words.count == 1: return .id
        case "Random" where words.count == 2:
            guard let count = Int(words[1]), (1...1_048_576).contains(count) else { return nil }
            return .random(count)
        default: return nil
        }
    }

    /// The body of message number `count`, from 1.
    func body(count: Int, now: Int64 = WallClock.now()) -> [UInt8] {
        var body: [UInt8] = []
        for part in parts {
            switch part {
            case .text(let text): body += text
            case .count: body += String(count).utf8
            case .timeStamp: body += WallClock.dateAndTime(now).utf8
            case .unix: body += String(now / 1_000_000_000).utf8
            case .unixNano: body += String(now).utf8
            case .id: body += UniqueName.make().utf8
            case .random(let count):
                var generator = SystemRandomNumberGenerator()
                for _ in 0..<count {
                    body.append(UInt8.random(in: UInt8(ascii: "a")...UInt8(ascii: "z"), using: &generator))
                }
            }
        }
        return body
    }
}
