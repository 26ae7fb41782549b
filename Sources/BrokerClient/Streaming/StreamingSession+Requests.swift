import BrokerProtocol

extension StreamingSession {
    /// Sends a request of the protocol and returns the answer's payload.
    func request(_ subject: [UInt8], _ payload: [UInt8], what: String) async throws(StreamingError) -> [UInt8]
    {
        if let reason = await core.onLoop({ _ in self.whyEnded }) { throw reason }
        do throws(ClientError) {
            return try await core.request(
                String(decoding: subject, as: UTF8.self), payload, timeout: options.requestTimeout
            ).payload
        } catch .timeout, .noResponders {
            throw .timeout(what)
        } catch {
            throw StreamingError(error)
        }
    }

    /// The subject of a publish, up to the channel.
    var publishPrefix: String { String(decoding: subjects.publishPrefix, as: UTF8.self) + "." }

    /// The encoded `PubMsg` of publish `id`.
    func publishMessage(id: UInt64, channel: String, reply: String?, payload: [UInt8]) -> [UInt8] {
        let (clientID, guid, reply) = (
            Array(clientID.utf8), Array((guidPrefix + String(id)).utf8), Array((reply ?? "").utf8)
        )
        let (channel, connectionID) = (Array(channel.utf8), Array(connectionID.utf8))
        // The views live as long as the six arrays, which the nesting keeps.
        return unsafe clientID.withUnsafeBytes { clientID in
            unsafe guid.withUnsafeBytes { guid in
                unsafe channel.withUnsafeBytes { channel in
                    unsafe reply.withUnsafeBytes { reply in
                        unsafe payload.withUnsafeBytes { payload in
                            unsafe connectionID.withUnsafeBytes { connectionID in
                                var message = PubMsg()
                                unsafe message.clientID = clientID
                                unsafe message.guid = guid
                                unsafe message.subject = channel
                                unsafe message.reply = reply
                                unsafe message.data = payload
                                unsafe message.connectionID = connectionID
                                return unsafe [UInt8](unsafeUninitializedCapacity: message.encodedSize) {
                                    memory, count in
                                    count = unsafe message.encode(into: UnsafeMutableRawBufferPointer(memory))
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The request for a subscription.
    func subscriptionRequest(
        channel: String, inbox: String, _ options: ChannelSubscriptionOptions
    ) -> SubscriptionRequest {
        var request = SubscriptionRequest()
        request.clientID = Array(clientID.utf8)
        request.subject = Array(channel.utf8)
        request.queueGroup = Array((options.queueGroup ?? "").utf8)
        request.inbox = Array(inbox.utf8)
        request.maxInFlight = Int32(clamping: options.maxInFlight)
        request.ackWaitSeconds = options.ackWait.wholeSeconds
        request.durableName = Array((options.durableName ?? "").utf8)
        switch options.start {
        case .newOnly: request.startPosition = .newOnly
        case .last: request.startPosition = .lastReceived
        case .first: request.startPosition = .first
        case .sequence(let sequence):
            request.startPosition = .sequenceStart
            request.startSequence = sequence
        case .since(let duration):
            request.startPosition = .timeDeltaStart
            request.startTimeDelta = duration.nanoseconds
        }
        return request
    }
}
