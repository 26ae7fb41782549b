import Testing

@testable import ServicesCore

@Suite("Time strings of events and bodies")
struct TimestampTests {
    /// 2021-05-16T20:36:42.105449Z
    static let moment = Timestamp(microseconds: 1_621_197_402_105_449)

    @Test("are written with microseconds and without trailing zeros")
    func writing() {
        #expect(Self.moment.rfc3339 == "2021-05-16T20:36:42.105449Z")
        #expect(Self.moment.eventText == "2021-05-16 20:36:42.105449 +0000 UTC")
        let round = Timestamp(microseconds: 1_621_197_402_500_000)
        #expect(round.rfc3339 == "2021-05-16T20:36:42.5Z")
        let whole = Timestamp(microseconds: 1_621_197_402_000_000)
        #expect(whole.rfc3339 == "2021-05-16T20:36:42Z")
        #expect(whole.eventText == "2021-05-16 20:36:42 +0000 UTC")
        for (microseconds, text) in [
            (0, "1970-01-01T00:00:00Z"), (-1, "1969-12-31T23:59:59.999999Z"),
            (-62_135_596_800_000_000, "0001-01-01T00:00:00Z"),
            (951_827_696_789_000, "2000-02-29T12:34:56.789Z"),
            (253_402_300_800_000_000, "10000-01-01T00:00:00Z"), (10, "1970-01-01T00:00:00.00001Z"),
        ] as [(Int64, String)] {
            #expect(Timestamp(microseconds: microseconds).rfc3339 == text)
        }
    }

    @Test(
        "are read in every form that is known",
        arguments: [
            "2021-05-16 20:36:42.105449 +0000 UTC", "2021-05-16 20:36:42.105449 +0000 +0000",
            "2021-05-16 20:36:42.105449999 +0000 UTC", "2021-05-16 22:36:42.105449 +0200 CEST",
            "2021-05-16T20:36:42.105449Z", "2021-05-16T22:36:42.105449+02:00",
            "2021-05-16T15:06:42.105449-05:30",
        ])
    func reading(_ text: String) {
        #expect(Timestamp(eventText: text) == Self.moment)
    }

    @Test(
        "are refused when they are none",
        arguments: [
            "", "now", "2021-05-16", "2021-05-16 20:36:42", "2021-13-16 20:36:42 +0000 UTC",
            "2021-02-30 20:36:42 +0000 UTC", "2021-05-16 24:00:00 +0000 UTC", "2021-05-16 20:36:60 +0000 UTC",
            "2021-05-16 20:36:42. +0000 UTC", "2021-05-16 20:36:42.1234567890 +0000 UTC",
            "2021-05-16 20:36:42 +00:00 UTC", "2021-05-16T20:36:42", "2021-05-16T20:36:42+0000",
            "2021-05-16 20:36:42 +0000 UTC ", "2021-05-16 20:36:42 +0000 UTC\n",
            "+021-05-16 20:36:42 +0000 UTC",
            "٢٠٢١-05-16 20:36:42 +0000 UTC",
        ])
    func refusing(_ text: String) {
        #expect(Timestamp(eventText: text) == nil)
    }
}
