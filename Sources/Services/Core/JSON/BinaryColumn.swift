import BrokerProtocol
import Postgres

/// Values of PostgreSQL in binary form (its documentation does not give them: `boolsend`, `textsend`, `array_send` and
/// `timestamp_send` of its sources), written as JSON. All numbers are big-endian.
enum BinaryColumn {
    private typealias Bytes = UnsafeRawBufferPointer

    /// - Throws: When the column's type is none of the kind: its bytes would be taken for something else.
    static func check(_ typeOID: UInt32, _ kind: JSONRowFormat.Kind, _ column: Int) throws(PostgresError) {
        let isRight =
            switch kind {
            case .text: typeOID == TypeOID.text || typeOID == TypeOID.varchar
            case .boolean: typeOID == TypeOID.bool
            case .texts: typeOID == TypeOID.textArray || typeOID == TypeOID.varcharArray
            case .time: typeOID == TypeOID.timestamp
            }
        guard isRight else { throw mismatch(column, "the object id of its type, \(typeOID), is no \(kind)") }
    }

    /// Writes a value; nil is NULL.
    static func write(
        _ value: UnsafeRawBufferPointer?, _ kind: JSONRowFormat.Kind, _ column: Int, to json: inout JSONBytes
    ) throws(PostgresError) {
        guard let value = unsafe value else {
            if case .time = kind { throw mismatch(column, "it is NULL and no point in time") }
            return json.append("null")
        }
        switch kind {
        case .text: unsafe writeText(value, to: &json)
        case .boolean: json.append(unsafe value.first == 1 ? "true" : "false")
        case .texts:
            guard unsafe writeTexts(value, to: &json) else {
                throw mismatch(
                    column, "the array has NULL elements, several dimensions, or another first index than 1")
            }
        case .time:
            // Infinity is the largest number, and minus infinity the least.
            guard let time = unsafe integer(value, at: 0, as: Int64.self), time != .min,
                case (let microseconds, let isTooFar) = time.addingReportingOverflow(
                    secondsTo2000 * 1_000_000), !isTooFar
            else { throw mismatch(column, "it is no point in time, or too far away") }
            writeTime(Timestamp(microseconds: microseconds), to: &json)
        }
    }

    private static func mismatch(_ column: Int, _ reason: String) -> PostgresError {
        PostgresError(.decoding, "column \(column): \(reason)")
    }

    /// The number at a place; nil when the bytes end before it does.
    private static func integer<Number: FixedWidthInteger>(
        _ bytes: Bytes, at place: Int, as type: Number.Type
    ) -> Number? {
        guard place + Number.bitWidth / 8 <= bytes.count else { return nil }
        return unsafe Number(bigEndian: bytes.loadUnaligned(fromByteOffset: place, as: Number.self))
    }

    private static func writeText(_ text: Bytes, to json: inout JSONBytes) {
        guard unsafe JSONWriter.isPlain(text) else {
            // Rare: what JSON has to escape.
            var writer = JSONWriter()
            writer.element(unsafe String(decoding: text, as: UTF8.self))
            return unsafe writer.bytes.withUnsafeBytes { unsafe json.append($0) }
        }
        json.append(UInt8(ascii: "\""))
        unsafe json.append(text)
        json.append(UInt8(ascii: "\""))
    }

    /// Dimensions, a flag for NULLs, the type of the elements; of each dimension its length and lower bound; of each element
    /// its length, -1 for NULL, and its bytes. False, for what is no list of texts.
    private static func writeTexts(_ array: Bytes, to json: inout JSONBytes) -> Bool {
        guard let dimensions = unsafe integer(array, at: 0, as: Int32.self) else { return false }
        json.append(UInt8(ascii: "["))
        if dimensions != 0 {
            guard dimensions == 1, let count = unsafe integer(array, at: 12, as: Int32.self), count > 0,
                unsafe integer(array, at: 16, as: Int32.self) == 1
            else { return false }
            var place = 20
            for index in 0..<count {
                guard let length = unsafe integer(array, at: place, as: Int32.self), length >= 0,
                    place + 4 + Int(length) <= array.count
                else { return false }
                if index > 0 { json.append(UInt8(ascii: ",")) }
                place += 4
                unsafe writeText(Bytes(rebasing: array[place..<place + Int(length)]), to: &json)
                place += Int(length)
            }
        }
        json.append(UInt8(ascii: "]"))
        return true
    }

    // MARK: Times

    /// From 1970, which ours count from, to 2000, which PostgreSQL's do.
    private static let secondsTo2000: Int64 = 946_684_800

    /// As `Timestamp.rfc3339` has it.
    private static func writeTime(_ time: Timestamp, to json: inout JSONBytes) {
        let (days, inDay) = time.microseconds.quotientAndRemainder(dividingBy: 86_400_000_000)
        let date = CivilDate(days: Int(days))
        json.append(UInt8(ascii: "\""))
        defer { json.append(UInt8(ascii: "\"")) }
        guard inDay >= 0, (1...9_999).contains(date.year) else {
            // Not of our time.
            return unsafe Array(time.rfc3339.utf8).withUnsafeBytes { unsafe json.append($0) }
        }
        let (seconds, fraction) = Int(inDay).quotientAndRemainder(dividingBy: 1_000_000)
        writePair(date.year / 100, to: &json)
        writePair(date.year % 100, to: &json)
        json.append(UInt8(ascii: "-"))
        writePair(date.month, to: &json)
        json.append(UInt8(ascii: "-"))
        writePair(date.day, to: &json)
        json.append(UInt8(ascii: "T"))
        writePair(seconds / 3_600, to: &json)
        json.append(UInt8(ascii: ":"))
        writePair(seconds / 60 % 60, to: &json)
        json.append(UInt8(ascii: ":"))
        writePair(seconds % 60, to: &json)
        if fraction > 0 {
            json.append(UInt8(ascii: "."))
            // Without the zeros at its end.
            var (rest, unit) = (fraction, 100_000)
            while rest > 0 {
                json.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest / unit))
                (rest, unit) = (rest % unit, unit / 10)
            }
        }
        json.append(UInt8(ascii: "Z"))
    }

    /// Two digits.
    @inline(__always)
    private static func writePair(_ number: Int, to json: inout JSONBytes) {
        json.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / 10))
        json.append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number % 10))
    }
}
