import BrokerLog
import BrokerProtocol

/// The answers below `/streaming` (nats-streaming.md §6), made by the engine on its loop.
extension StreamingEngine {
    /// Answers a request; nil for an unknown path.
    func answer(_ request: MonitoringRequest, version: String) -> MonitoringResponse? {
        switch request.path {
        case "/streaming/serverz": wrapped(serverz(version: version), request)
        case "/streaming/storez": wrapped(storez(), request)
        case "/streaming/clientsz": clientsz(request)
        case "/streaming/channelsz": channelsz(request)
        // 200 is for the active server of a fault tolerant group; this one stands alone.
        case "/streaming/isFTActive": MonitoringResponse(status: 204, contentType: "text/plain", body: [])
        default: nil
        }
    }

    /// `?callback=f` asks for JSONP.
    private func wrapped(_ json: JSONWriter, _ request: MonitoringRequest) -> MonitoringResponse {
        guard let callback = request.text("callback"), !callback.isEmpty else { return .json(json) }
        return MonitoringResponse(
            contentType: "application/javascript",
            body: Array("\(callback)(".utf8) + json.bytes + Array(")".utf8))
    }

    private func begin() -> JSONWriter {
        var json = JSONWriter(isPretty: true)
        json.beginObject()
        json.field("cluster_id", options.clusterID)
        json.field("server_id", serverID)
        return json
    }

    /// Messages and bytes of all channels.
    private var totals: (messages: Int, bytes: Int) {
        channels.values.reduce(into: (0, 0)) { total, channel in
            guard let info = log.info(of: channel.id) else { return }
            total.0 += info.messages
            total.1 += info.bytes
        }
    }

    /// Subscriptions that are online, offline durables and shadows.
    private var subscriptionCount: Int { channels.values.reduce(0) { $0 + $1.subscriptionCount } }

    // MARK: serverz, storez

    private func serverz(version: String) -> JSONWriter {
        var json = begin()
        let now = clock.wall()
        json.field("version", version)
        json.field("go", "swift")
        json.field("state", "STANDALONE")
        json.field("now", MonitoringTime.text(now))
        json.field("start_time", MonitoringTime.text(startTime))
        json.field("uptime", MonitoringTime.uptime(seconds: max(0, now - startTime) / 1_000_000_000))
        json.field("clients", clients.count)
        json.field("subscriptions", subscriptionCount)
        json.field("channels", channels.count)
        json.field("total_msgs", totals.messages)
        json.field("total_bytes", totals.bytes)
        json.field("in_msgs", inMessages)
        json.field("in_bytes", inBytes)
        json.field("out_msgs", outMessages)
        json.field("out_bytes", outBytes)
        if let files = OpenFiles.now() {
            json.field("open_fds", files.open)
            json.field("max_fds", files.limit)
        }
        json.endObject()
        return json
    }

    private func storez() -> JSONWriter {
        var json = begin()
        json.field("now", MonitoringTime.text(clock.wall()))
        json.field("type", options.store == .memory ? "MEMORY" : "FILE")
        json.beginObject("limits")
        json.field("max_channels", options.maxChannels)
        json.field("max_msgs", options.maxMessages)
        json.field("max_bytes", options.maxBytes)
        json.field("max_age", options.maxAgeNanoseconds)
        json.field("max_subscriptions", options.maxSubscriptionsPerChannel)
        json.field("max_inactivity", options.maxInactivityNanoseconds)
        json.endObject()
        json.field("total_msgs", totals.messages)
        json.field("total_bytes", totals.bytes)
        json.endObject()
        return json
    }

    // MARK: Health

    /// Whether messages are taken, and what of the store is damaged.
    func health() -> StoreHealth {
        // Free blocks say nothing of quotas, inodes and open files: what is still being refused counts for more.
        if fullReason != nil, now() &- lastRefusal >= 5_000_000_000,
            let free = FreeSpace.bytes(at: options.directory), free >= spaceThatSuffices
        {
            fullReason = nil
        }
        let unreadiness = log.closedReason.map { "the store is closed for writing: \($0)" }
        return StoreHealth(
            unreadiness: unreadiness ?? fullReason.map { "publishes are refused: \($0)" },
            damage: log.statistics.damage.map(\.description))
    }

    /// With so much room on the disk, two journal files, publishes are believed to be taken again before one was: where a
    /// broker that is not ready gets no clients, none would be.
    private var spaceThatSuffices: UInt64 { UInt64(min(options.journalSizeBytes / 8, 64 << 20)) }

    // MARK: clientsz

    private func clientsz(_ request: MonitoringRequest) -> MonitoringResponse {
        let withSubscriptions = request.text("subs") == "1"
        if let id = request.text("client"), !id.isEmpty {
            guard let client = client(withID: Array(id.utf8)) else {
                return .text("Client \(id) not found", status: 404)
            }
            var json = JSONWriter(isPretty: true)
            json.beginObject()
            write(client, withSubscriptions: withSubscriptions, to: &json)
            json.endObject()
            return wrapped(json, request)
        }
        let page = Page(request)
        let all = clients.values.sorted { $0.id.lexicographicallyPrecedes($1.id) }
        let shown = page.slice(of: all)
        var json = begin()
        page.write(count: shown.count, total: all.count, now: clock.wall(), to: &json)
        json.beginArray("clients")
        for client in shown {
            json.beginObject()
            write(client, withSubscriptions: withSubscriptions, to: &json)
            json.endObject()
        }
        json.endArray()
        json.endObject()
        return wrapped(json, request)
    }

    private func write(_ client: StreamingClient, withSubscriptions: Bool, to json: inout JSONWriter) {
        json.field("id", client.id)
        json.field("hb_inbox", client.record.heartbeatInbox)
        json.field("subs_count", client.subscriptions.count)
        let online = client.subscriptions.compactMap { subscriptions[$0] }
        guard withSubscriptions, !online.isEmpty else { return }
        json.beginObject("subscriptions")
        let byChannel = Dictionary(grouping: online) { text($0.channel.name) }
        for (name, list) in byChannel.sorted(by: { $0.key < $1.key }) {
            json.beginArray(name)
            for subscription in list { write(subscription, to: &json) }
            json.endArray()
        }
        json.endObject()
    }

    // MARK: channelsz

    private func channelsz(_ request: MonitoringRequest) -> MonitoringResponse {
        let withSubscriptions = request.text("subs") == "1"
        if let name = request.text("channel"), !name.isEmpty {
            guard let channel = channelsByName[Array(name.utf8)].flatMap({ channels[$0] }) else {
                return .text("Channel \(name) not found", status: 404)
            }
            var json = JSONWriter(isPretty: true)
            json.beginObject()
            write(channel, withSubscriptions: withSubscriptions, to: &json)
            json.endObject()
            return wrapped(json, request)
        }
        let page = Page(request)
        let all = channels.values.sorted { $0.name.lexicographicallyPrecedes($1.name) }
        let shown = page.slice(of: all)
        var json = begin()
        page.write(count: shown.count, total: all.count, now: clock.wall(), to: &json)
        if !shown.isEmpty {
            json.beginArray(withSubscriptions ? "channels" : "names")
            for channel in shown {
                guard withSubscriptions else {
                    json.element(channel.name)
                    continue
                }
                json.beginObject()
                write(channel, withSubscriptions: true, to: &json)
                json.endObject()
            }
            json.endArray()
        }
        json.endObject()
        return wrapped(json, request)
    }

    private func write(_ channel: MessageChannel, withSubscriptions: Bool, to json: inout JSONWriter) {
        let info = log.info(of: channel.id)
        let last = info?.lastSequence ?? 0
        json.field("name", channel.name)
        json.field("msgs", info?.messages ?? 0)
        json.field("bytes", info?.bytes ?? 0)
        json.field("first_seq", last == 0 ? 0 : info?.firstSequence ?? 0)
        json.field("last_seq", last)
        json.field("subs_count", channel.subscriptionCount)
        if let lost = info?.damage, !lost.isEmpty {
            json.beginArray("lost")
            for range in lost {
                json.beginObject()
                json.field("first_seq", range.lowerBound)
                json.field("last_seq", range.upperBound)
                json.endObject()
            }
            json.endArray()
        }
        guard withSubscriptions, !channel.consumers.isEmpty else { return }
        json.beginArray("subscriptions")
        for consumer in channel.consumers {
            for member in consumer.members {
                write(Subscription(channel: channel, consumer: consumer, member: member), to: &json)
            }
        }
        json.endArray()
    }

    private func write(_ subscription: Subscription, to json: inout JSONWriter) {
        let (consumer, member) = (subscription.consumer, subscription.member)
        json.beginObject()
        json.field("client_id", member.clientID)
        json.field("inbox", member.inbox)
        json.field("ack_inbox", member.ackInbox)
        switch consumer.kind {
        case .plain: break
        case .durable(let name): json.field("durable_name", name)
        case .queue(let group): json.field("queue_name", group)
        case .durableQueue(let name, let group):
            json.field("queue_name", name + [UInt8(ascii: ":")] + group)
        }
        json.field("is_durable", consumer.isDurable)
        json.field("is_offline", subscriptions[member.id] == nil)
        json.field("max_inflight", member.maxInFlight)
        json.field("ack_wait", member.ackWaitSeconds)
        json.field("last_sent", consumer.isQueue ? member.lastSent : consumer.lastSent)
        json.field("pending_count", member.pending.count)
        json.field("is_stalled", member.isStalled)
        json.endObject()
    }

    // MARK: Metrics

    /// Adds the figures of the streaming part and of the log.
    func addMetrics(to metrics: MetricsText) -> MetricsText {
        var metrics = metrics
        let statistics = log.statistics
        metrics.gauge("broker_streaming_clients", "Streaming clients registered.", clients.count)
        metrics.gauge("broker_streaming_channels", "Channels.", channels.count)
        metrics.counter("broker_streaming_in_messages_total", "Messages published to channels.", inMessages)
        metrics.counter("broker_streaming_in_bytes_total", "Bytes of those publishes.", inBytes)
        metrics.counter(
            "broker_streaming_out_messages_total", "Messages sent to subscriptions, redeliveries included.",
            outMessages)
        metrics.counter("broker_streaming_out_bytes_total", "Payload bytes of those messages.", outBytes)
        metrics.counter(
            "broker_streaming_redelivered_total", "Messages sent to a subscription again.",
            redeliveredMessages)
        metrics.counter(
            "broker_streaming_acknowledged_total", "Messages that subscriptions acknowledged.",
            acknowledgedMessages)
        metrics.gauge(
            "broker_journal_bytes_in_flight", "Bytes appended and not durable yet.", log.bytesInFlight)
        metrics.counter("broker_journal_syncs_total", "Syncs of the journal.", statistics.syncs)
        metrics.counter("broker_journal_batches_total", "Batches written to the journal.", statistics.batches)
        metrics.counter(
            "broker_journal_written_bytes_total", "Bytes written to the journal.",
            statistics.journalBytesWritten)
        metrics.gauge(
            "broker_journal_file_bytes", "Bytes that the journal's files take.", statistics.journalFileBytes)
        metrics.counter("broker_checkpoints_total", "Checkpoints made.", statistics.checkpoints)
        metrics.gauge("broker_segments", "Segment files.", statistics.segments)
        metrics.gauge(
            "broker_block_cache_bytes", "Bytes of stored blocks kept in memory.", statistics.cachedBytes)
        metrics.gauge(
            "broker_block_open_bytes", "Bytes of memory of the blocks that channels are filling.",
            statistics.openBytes)
        metrics.gauge(
            "broker_block_unwritten_bytes", "Bytes of full blocks that are not in segments yet.",
            statistics.unwrittenBytes)
        metrics.counter(
            "broker_refused_messages_total", "Messages refused because the disk was full.",
            statistics.refusedMessages)
        metrics.gauge(
            "broker_store_damages", "Places of the store that are damaged.", statistics.damage.count)
        let latency = statistics.commitLatency
        metrics.histogram(
            "broker_commit_seconds", "Time from the end of a tick until its batch was durable.",
            buckets: latency.counts.enumerated().map { (Double(UInt64(1) << UInt64($0)) / 1e6, $1) },
            sum: Double(latency.totalNanoseconds) / 1e9, count: latency.count)
        addChannelMetrics(to: &metrics)
        return metrics
    }

    private func addChannelMetrics(to metrics: inout MetricsText) {
        let sorted = channels.values.sorted { $0.name.lexicographicallyPrecedes($1.name) }
        for channel in sorted {
            metrics.gauge(
                "broker_channel_messages", "Messages stored in the channel.",
                log.info(of: channel.id)?.messages ?? 0, labels: [("channel", text(channel.name))])
        }
        for channel in sorted {
            let pending = channel.consumers.reduce(0) { $0 + $1.members.reduce(0) { $0 + $1.pending.count } }
            metrics.gauge(
                "broker_channel_pending",
                "Messages sent to subscriptions of the channel and not acknowledged.",
                pending, labels: [("channel", text(channel.name))])
        }
    }
}

/// `limit` and `offset` of a list.
private struct Page {
    let limit: Int
    let offset: Int

    init(_ request: MonitoringRequest) {
        let limit = request.text("limit").flatMap { Int($0) } ?? 0
        self.limit = limit > 0 ? limit : 1_024
        offset = max(0, request.text("offset").flatMap { Int($0) } ?? 0)
    }

    func slice<Element>(of all: [Element]) -> ArraySlice<Element> { all.dropFirst(offset).prefix(limit) }

    func write(count: Int, total: Int, now: Int64, to json: inout JSONWriter) {
        json.field("now", MonitoringTime.text(now))
        json.field("offset", offset)
        json.field("limit", limit)
        json.field("count", count)
        json.field("total", total)
    }
}
