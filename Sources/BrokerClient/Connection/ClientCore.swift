import Glibc
import NIOCore
import NIOPosix

/// The moving parts of a client: its connection, its subscriptions, its outstanding requests and flushes.
// Every stored `var` belongs to `eventLoop`: it is read and written on that loop only (each entry point checks it or is
// called by the connection's handler there). `outbox` and `events` guard themselves.
final class ClientCore: @unchecked Sendable {
    /// Where the connection is.
    enum Phase {
        /// Between attempts; the task starts the next one.
        case waiting(Scheduled<Void>?)
        /// Connecting a socket.
        case connecting
        /// The socket is there; INFO, CONNECT, PING and PONG are exchanged.
        case handshaking(ServerConnection, deadline: Scheduled<Void>)
        /// In use.
        case connected(ServerConnection)
        /// Closed for good.
        case closed
    }

    let eventLoop: any EventLoop
    let options: ClientOptions
    let outbox: Outbox
    let events = EventHub()

    var phase = Phase.waiting(nil)
    var info = ServerInfo()
    var pool: ServerPool
    var generator = SystemRandomNumberGenerator()

    // The first connect, and how the attempts go.
    private let firstConnect = Completion<Void>()
    private var wasConnected = false
    private var attemptsInRound = 0
    private var roundsFailed = 0
    private var attemptErrors: [String] = []
    private var authorizationErrors: [String: Int] = [:]
    private var lastServerError: String?

    // Subscriptions by their id, which stays the same across connections.
    var subscriptions: [UInt64: SubscriptionState] = [:]
    var nextSubscriptionID: UInt64 = 1
    var fullBuffers: Set<UInt64> = []

    // Flushes in the order of their PINGs; those without a connection wait for the next one.
    var flushes = CircularBuffer<Completion<Void>>()
    var flushesForReconnect: [Completion<Void>] = []

    // Requests by the last token of their inbox.
    var requestPrefix: String?
    var requests: [UInt64: Completion<Message>] = [:]
    var nextRequest: UInt64 = 0

    private var pingTask: RepeatedTask?
    private var pingsOut = 0
    /// Called on the loop when a connection was lost, with the position in the stream of appended bytes up to which
    /// everything had been handed to it: the streaming client learns which acknowledgements cannot come any more.
    var whenConnectionLost: (@Sendable (UInt64) -> Void)?
    /// Called on the loop whenever a connection is established.
    var whenConnected: (@Sendable () -> Void)?
    /// Called once, on the loop, when the client is closed for good.
    var whenClosed: (@Sendable (ClientError?) -> Void)?

    init(options: ClientOptions) {
        self.options = options
        eventLoop = options.group.next()
        outbox = Outbox(limit: options.maxPendingBytes)
        pool = ServerPool(options.servers)
    }

    // MARK: Connecting

    /// Connects for the first time.
    func start() async throws(ClientError) {
        eventLoop.execute { self.attempt() }
        do throws(ClientError) {
            try await firstConnect.value()
        } catch {
            // Also when the task was cancelled while a connection was under way.
            eventLoop.execute { self.close(error) }
            throw error
        }
    }

    private func attempt() {
        guard case .waiting = phase else { return }
        guard let server = pool.next() else {
            close(.noServer([]))
            return
        }
        phase = .connecting
        attemptsInRound += 1
        let bootstrap = ClientBootstrap(group: eventLoop)
            .connectTimeout(TimeAmount(options.connectTimeout))
            .channelOption(.tcpOption(.tcp_nodelay), value: 1)
            .channelOption(.maxMessagesPerRead, value: 1)
            .channelOption(
                .recvAllocator,
                value: AdaptiveRecvByteBufferAllocator(minimum: 4096, initial: 16384, maximum: 262_144)
            )
            .channelOption(.writeBufferWaterMark, value: .init(low: 65_536, high: 1 << 20))
            // Once for each address that the name has: the first one that opens is the connection.
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        ServerConnection(core: self, server: server))
                }
            }
            .resolver(options.resolver)
        bootstrap.connect(host: server.host, port: server.port).whenFailure { error in
            self.attemptFailed(server, reason: Self.reason(of: error))
        }
    }

    /// The socket is there: its INFO has to come in time. Nobody wants it when the client was closed meanwhile.
    func opened(_ connection: ServerConnection) {
        guard case .connecting = phase else {
            connection.close()
            return
        }
        let deadline = eventLoop.scheduleTask(in: TimeAmount(options.connectTimeout)) {
            connection.close(reason: "no greeting within \(self.options.connectTimeout)")
        }
        lastServerError = nil
        phase = .handshaking(connection, deadline: deadline)
    }

    /// An attempt has failed: the next server, the next round, or the end.
    private func attemptFailed(_ server: ServerURL, reason: String) {
        switch phase {
        case .closed: return
        case .handshaking(_, let deadline): deadline.cancel()
        default: break
        }
        phase = .waiting(nil)
        attemptErrors.append("\(server.address): \(reason)")
        guard attemptsInRound >= pool.count else {
            attempt()
            return
        }
        let errors = attemptErrors
        attemptErrors = []
        attemptsInRound = 0
        if !wasConnected, !options.waitsForFirstConnect {
            close(firstFailure ?? .noServer(errors))
            return
        }
        roundsFailed += 1
        if let maxRounds = options.reconnect.maxRounds, roundsFailed >= maxRounds {
            close(.noServer(errors))
            return
        }
        waitForNextRound()
    }

    /// What kind of failure the first connect reports, when it was not just an unreachable server.
    private var firstFailure: ClientError?

    private func waitForNextRound() {
        let delay = options.reconnect.delay(round: roundsFailed, using: &generator)
        phase = .waiting(eventLoop.scheduleTask(in: TimeAmount(delay)) { self.attempt() })
    }

    private func greeted(_ connection: ServerConnection) {
        if info.tlsRequired {
            firstFailure = .tlsRequired(server: connection.url.address)
            connection.close(reason: ClientError.tlsRequired(server: connection.url.address).description)
            return
        }
        var line = ByteBuffer(string: "CONNECT \(connectJSON(for: connection.url))\r\nPING\r\n")
        line.reserveCapacity(line.readableBytes)
        connection.write(line)
    }

    private func connectJSON(for server: ServerURL) -> String {
        var fields: [String: JSON] = [
            "verbose": .bool(false), "pedantic": .bool(false), "echo": .bool(options.echo),
            "protocol": .integer(1),
            "headers": .bool(info.headers), "no_responders": .bool(info.headers),
            "tls_required": .bool(false),
            "lang": .string("swift"), "version": .string("0.1.0"), "name": .string(options.name ?? ""),
        ]
        if let user = server.user ?? options.user { fields["user"] = .string(user) }
        if let password = server.password ?? options.password { fields["pass"] = .string(password) }
        if let token = server.token ?? options.token { fields["auth_token"] = .string(token) }
        return JSON.object(fields).text
    }

    /// The PONG of the handshake: subscriptions first, then what was waiting, then the flushes.
    private func established(_ connection: ServerConnection, deadline: Scheduled<Void>) {
        deadline.cancel()
        let isFirst = !wasConnected
        wasConnected = true
        roundsFailed = 0
        attemptsInRound = 0
        attemptErrors = []
        authorizationErrors[connection.url.address] = nil
        pool.stay()
        phase = .connected(connection)
        if !fullBuffers.isEmpty { connection.setReading(false) }
        var lines = ByteBuffer()
        for (id, subscription) in subscriptions.sorted(by: { $0.key < $1.key }) {
            lines.writeString(subscription.resubscribeLines(id: id))
        }
        if lines.readableBytes > 0 { connection.write(lines) }
        flush()
        for completion in flushesForReconnect { ping(completion) }
        flushesForReconnect = []
        startPings()
        events.send(
            isFirst
                ? .connected(server: connection.url.address) : .reconnected(server: connection.url.address))
        firstConnect.complete(.success(()))
        whenConnected?()
    }

    // MARK: The connection's events

    /// An operation came; the views in it are valid until this returns.
    func received(_ operation: ServerOperation, from connection: ServerConnection) {
        switch unsafe operation {
        case .message(let message): unsafe deliver(message)
        case .ping:
            // Answered at once, ahead of what waits: a congested socket must not look like a dead client.
            connection.write(ByteBuffer(string: "PONG\r\n"))
        case .pong: ponged(connection)
        case .ok: break
        case .error(let text): unsafe serverError(String(decoding: text, as: UTF8.self), connection)
        case .info(let json): unsafe informed([UInt8](json), connection)
        }
    }

    private func informed(_ json: [UInt8], _ connection: ServerConnection) {
        guard let info = ServerInfo(json: json) else {
            connection.close(reason: "the server's INFO is no JSON object")
            return
        }
        self.info = info
        outbox.update(info)
        let new = pool.discovered(info.connectURLs)
        if !new.isEmpty { events.send(.discoveredServers(new)) }
        if info.lameDuck { events.send(.lameDuck) }
        if case .handshaking(let current, _) = phase, current === connection { greeted(connection) }
    }

    private func ponged(_ connection: ServerConnection) {
        switch phase {
        case .handshaking(let current, let deadline) where current === connection:
            established(connection, deadline: deadline)
        case .connected:
            pingsOut = 0
            // A PONG without a flush answers a keep-alive.
            flushes.popFirst()?.complete(.success(()))
        default: break
        }
    }

    private func serverError(_ text: String, _ connection: ServerConnection) {
        events.send(.serverError(text))
        let lowered = text.lowercased()
        if lowered.hasPrefix("permissions violation for subscription to \"") {
            endSubscriptions(refusedBy: text)
            return
        }
        if lowered.hasPrefix("permissions violation") || lowered.hasPrefix("maximum subscriptions exceeded")
            || lowered.hasPrefix("invalid subject") || lowered.hasPrefix("invalid publish subject")
        {
            return
        }
        lastServerError = text
        guard
            lowered.hasPrefix("authorization violation") || lowered.hasPrefix("authentication")
                || lowered.hasPrefix("user authentication") || lowered.hasPrefix("account authentication")
        else { return }
        firstFailure = .authorization(text)
        let address = connection.url.address
        authorizationErrors[address, default: 0] += 1
        // The same refusal twice in a row: asking again would not help.
        if wasConnected, authorizationErrors[address, default: 0] >= 2 { close(.authorization(text)) }
    }

    func writabilityChanged(of connection: ServerConnection) {
        if connection.isWritable { flush() }
    }

    func disconnected(_ connection: ServerConnection, reason: String) {
        let reason = lastServerError ?? reason
        lastServerError = nil
        switch phase {
        case .handshaking(let current, _) where current === connection:
            attemptFailed(connection.url, reason: reason)
        case .connected(let current) where current === connection:
            lost(reason: reason)
        default: break
        }
    }

    private func lost(reason: String) {
        pingTask?.cancel()
        pingTask = nil
        phase = .waiting(nil)
        let (takenEnd, untakenPings) = outbox.untaken
        // PINGs that were sent will not be answered; those still in the outbox are sent after the reconnect.
        while flushes.count > untakenPings { flushes.popFirst()?.complete(.failure(.connectionLost)) }
        whenConnectionLost?(takenEnd)
        events.send(.disconnected(reason: reason))
        if options.reconnect.maxRounds == 0 {
            close(.connectionLost)
        } else {
            waitForNextRound()
        }
    }

    // MARK: Sending

    /// Hands what waits to the connection, in one write.
    func flush() {
        eventLoop.preconditionInEventLoop()
        guard case .connected(let connection) = phase, connection.isWritable else {
            outbox.leave()
            return
        }
        if let bytes = outbox.take() { connection.write(bytes) }
        if !connection.isWritable { outbox.leave() }
    }

    /// Appends a control line and sends it.
    func control(_ line: String) {
        if outbox.control(line) { flush() }
    }

    /// Completes when the server has processed everything before; called on the loop.
    func ping(_ completion: Completion<Void>) {
        switch phase {
        case .connected:
            flushes.append(completion)
            control("PING\r\n")
        case .closed: completion.complete(.failure(.closed))
        default: flushesForReconnect.append(completion)
        }
    }

    private func startPings() {
        pingsOut = 0
        let interval = TimeAmount(options.pingInterval)
        pingTask = eventLoop.scheduleRepeatedTask(initialDelay: interval, delay: interval) { _ in
            self.pingDue()
        }
    }

    private func pingDue() {
        guard case .connected(let connection) = phase else { return }
        guard fullBuffers.isEmpty else {
            // Not reading, so no PING of the server is answered: this says that we are alive all the same.
            connection.write(ByteBuffer(string: "PONG\r\n"))
            return
        }
        guard pingsOut < options.maxPingsOut else {
            connection.close(reason: "the server did not answer \(pingsOut) pings")
            return
        }
        pingsOut += 1
        ping(Completion())
    }

    // MARK: Closing

    /// Ends everything for good; called on the loop. Later calls change nothing.
    func close(_ error: ClientError?) {
        if case .closed = phase { return }
        let old = phase
        phase = .closed
        pingTask?.cancel()
        switch old {
        case .waiting(let task): task?.cancel()
        case .connecting, .closed: break
        case .handshaking(let connection, let deadline):
            deadline.cancel()
            connection.close()
        case .connected(let connection):
            if let rest = outbox.take() { connection.write(rest) }
            connection.close()
        }
        let failure = error ?? .closed
        outbox.close(failure)
        firstConnect.complete(.failure(failure))
        for completion in flushes { completion.complete(.failure(failure)) }
        for completion in flushesForReconnect { completion.complete(.failure(failure)) }
        for completion in requests.values { completion.complete(.failure(failure)) }
        flushes.removeAll()
        flushesForReconnect = []
        requests = [:]
        for subscription in subscriptions.values { subscription.end(error) }
        subscriptions = [:]
        fullBuffers = []
        whenClosed?(error)
        whenClosed = nil
        whenConnectionLost = nil
        whenConnected = nil
        events.send(.closed(reason: error))
        events.finish()
    }

    /// Runs `body` on the loop and waits for what it returns.
    func onLoop<Value: Sendable>(_ body: @escaping @Sendable (ClientCore) -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            eventLoop.execute { continuation.resume(returning: body(self)) }
        }
    }

    private static func reason(of error: any Error) -> String {
        if let error = error as? NIOConnectionError {
            if let single = error.connectionErrors.first { return reason(of: single.error) }
            if error.dnsAError != nil || error.dnsAAAAError != nil {
                return "the name \"\(error.host)\" is not known"
            }
        }
        if let error = error as? IOError { return unsafe String(cString: strerror(error.errnoCode)) }
        if case .connectTimeout = error as? ChannelError { return "timeout" }
        return String(describing: error)
    }
}

extension TimeAmount {
    /// A duration, cut to the 292 years that fit.
    init(_ duration: Duration) {
        let (seconds, attoseconds) = duration.components
        let (product, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        self = .nanoseconds(overflow ? .max : product &+ attoseconds / 1_000_000_000)
    }
}
