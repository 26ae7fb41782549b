import BrokerProtocol
import Testing

@Suite("Requests about channels")
struct ChannelRequestTests {
    private func read(_ verb: ChannelRequest.Verb, _ payload: String) throws(ChannelRequestError)
        -> ChannelRequest
    {
        let bytes = Array(payload.utf8)
        do {
            return try bytes.withUnsafeBytes { try ChannelRequest(verb, payload: $0) }
        } catch {
            throw error as! ChannelRequestError
        }
    }

    @Test("what is written is read, and nothing means the defaults")
    func roundTrip() throws {
        let requests: [ChannelRequest] = [
            .delete(force: false), .delete(force: true), .purge(.all), .purge(.upTo(sequence: .max)),
            .purge(.olderThan(nanoseconds: 1)),
        ]
        for request in requests {
            #expect(try read(request.verb, String(decoding: request.payload, as: UTF8.self)) == request)
        }
        #expect(try read(.delete, "") == .delete(force: false))
        #expect(try read(.purge, " { } ") == .purge(.all))
        #expect(
            String(decoding: ChannelRequest.Verb.purge.prefix(clusterID: Array("a.b".utf8)), as: UTF8.self)
                == "$BROKER.API.CHANNEL.PURGE.a.b.")
    }

    @Test(
        "what is none is refused with a sentence that says what would be right",
        arguments: [
            (ChannelRequest.Verb.delete, "x", "should be a JSON object"),
            (.delete, "[]", "should be a JSON object"), (.purge, "{", "should be a JSON object"),
            (.delete, "{\"force\":1}", "true or false"),
            (.delete, "{\"up_to_sequence\":1}", "nothing that can"),
            (.purge, "{\"force\":true}", "nothing that can"),
            (.purge, "{\"up_to_sequence\":0}", "1 and above"),
            (.purge, "{\"up_to_sequence\":-1}", "1 and above"),
            (.purge, "{\"up_to_sequence\":1.5}", "1 and above"),
            (.purge, "{\"up_to_sequence\":18446744073709551616}", "1 and above"),
            (.purge, "{\"up_to_sequence\":\"5\"}", "1 and above"),
            (.purge, "{\"older_than_ns\":null}", "1 and above"),
            (.purge, "{\"older_than_ns\":5,\"up_to_sequence\":5}", "once"),
            (.purge, "{\"up_to_sequence\":5,\"up_to_sequence\":6}", "once"),
        ])
    func refused(verb: ChannelRequest.Verb, payload: String, sentence: String) {
        let error = #expect(throws: ChannelRequestError.self) { try read(verb, payload) }
        #expect(error?.text.contains(sentence) == true, "\(payload): \(error?.text ?? "")")
    }
}
