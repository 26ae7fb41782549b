import BrokerProtocol
import NIOCore

/// What clients send: from the bytes of a read to operations (nats-core.md 1, 2.2, 4).
extension LoopCore {
    // MARK: Connections come and go

    /// A new connection: INFO goes out first (nats-core.md 4.1).
    func accept(_ handler: ClientHandler, address: SocketAddress?) -> UnsafeMutablePointer<Connection>? {
        beginTick()
        let now = unsafe state.pointee.now
        let clientID = shared.nextClientID()
        let admission = shared.credentials.withoutConnect
        let needsCredentials = admission == .refused
        let connection = unsafe state.pointee.connections.insert { id in
            Connection(
                id: id, clientID: clientID, handler: handler, address: address?.ipAddress ?? "",
                port: address?.port ?? 0, limits: limits, isAuthenticated: !needsCredentials,
                keepAlive: KeepAlive(
                    interval: options.pingIntervalNanoseconds, maximumOut: options.maxPingsOut, now: now))
        }
        unsafe connection.pointee.isAdministrator = admission == .administrator
        unsafe state.pointee.counters.totalConnections += 1
        unsafe send(infoLine(connection, isAfterConnect: false), to: connection)
        if unsafe state.pointee.isStopping {
            unsafe close(connection, .serverShutdown)
            return unsafe connection
        }
        guard shared.admitConnection() else {
            unsafe fail(connection, ErrorText.tooManyConnections, .tooManyConnections)
            return unsafe connection
        }
        unsafe connection.pointee.isCounted = true
        unsafe state.pointee.counters.connections += 1
        logger.debug(unsafe "\(connection.pointee.label) - Client connection created")
        if needsCredentials {
            unsafe connection.pointee.authenticationDeadline = now + options.authTimeoutNanoseconds
        }
        unsafe scheduleDeadline(connection)
        return unsafe connection
    }

    private func infoLine(_ connection: UnsafeMutablePointer<Connection>, isAfterConnect: Bool) -> [UInt8] {
        unsafe shared.serverInfo.line(
            clientID: connection.pointee.clientID, clientAddress: connection.pointee.address,
            isAfterConnect: isAfterConnect)
    }

    /// The client closed its side. What it sent before is processed, what it is owed goes out.
    func inputEnded(_ connection: UnsafeMutablePointer<Connection>) {
        beginTick()
        switch unsafe connection.pointee.phase {
        case .open:
            // A backlog whose pause is over waits for its turn (`resume`).
            if unsafe connection.pointee.backlog.count == 0 {
                unsafe finish(connection, .clientClosed)
            } else {
                unsafe connection.pointee.inputHasEnded = true
            }
        case .flushing: unsafe connection.pointee.inputHasEnded = true
        case .lingering: unsafe connection.pointee.handler.close()
        case .closed: break
        }
    }

    // MARK: Reads

    /// Parses what was read. The bytes are valid during the call.
    func received(_ bytes: UnsafeRawBufferPointer, from connection: UnsafeMutablePointer<Connection>) {
        beginTick()
        guard unsafe connection.pointee.phase == .open else { return }
        if unsafe !connection.pointee.pauses.isEmpty || connection.pointee.backlog.count > 0 {
            // NIO had begun this read when the pause began; it begins no other one.
            unsafe connection.pointee.backlog.append(bytes)
            return
        }
        unsafe parse(bytes, from: connection)
    }

    /// Parses the backlog of a connection whose pause is over, unless the connection has ended meanwhile: an
    /// interest that it registered now would outlive it.
    func parseBacklog(of connection: UnsafeMutablePointer<Connection>) {
        guard unsafe connection.pointee.phase == .open, unsafe connection.pointee.backlog.count > 0 else {
            return
        }
        var bytes = ByteStore()
        unsafe swap(&bytes, &connection.pointee.backlog)
        unsafe parse(bytes.bytes, from: connection)
        if unsafe connection.pointee.inputHasEnded, unsafe connection.pointee.backlog.count == 0,
            unsafe connection.pointee.phase == .open
        {
            unsafe finish(connection, .clientClosed)
        }
    }

    private func parse(_ bytes: UnsafeRawBufferPointer, from connection: UnsafeMutablePointer<Connection>) {
        guard var cursor = unsafe InputCursor(bytes) else { return }
        while true {
            if unsafe !connection.pointee.isAuthenticated, unsafe !mayGoOnUnauthenticated(connection, cursor)
            {
                break
            }
            switch unsafe connection.pointee.parser.next(&cursor, into: &state.pointee.operation) {
            case .operation:
                if unsafe state.pointee.operation.kind == .publish {
                    unsafe publish(connection)
                } else {
                    unsafe handle(connection)
                }
                guard unsafe connection.pointee.phase == .open else { return }
                if unsafe !connection.pointee.pauses.isEmpty {
                    unsafe connection.pointee.backlog.append(cursor.rest)
                    return
                }
            case .needMore:
                if unsafe connection.pointee.stall > 0 { unsafe beginStall(connection) }
                return
            case .failure(let failure):
                unsafe fail(connection, failure, near: cursor.rest)
                return
            }
        }
    }

    /// Before the credentials are checked only CONNECT is listened to.
    private func mayGoOnUnauthenticated(
        _ connection: UnsafeMutablePointer<Connection>, _ cursor: InputCursor
    ) -> Bool {
        guard unsafe connection.pointee.parser.isBetweenOperations, let first = unsafe cursor.rest.first
        else { return true }
        if first == UInt8(ascii: "C") || first == UInt8(ascii: "c") { return true }
        unsafe failAuthentication(connection)
        return false
    }

    private func failAuthentication(_ connection: UnsafeMutablePointer<Connection>) {
        logger.error(unsafe "\(connection.pointee.label) - authentication error")
        unsafe fail(connection, ErrorText.authorizationViolation, .authenticationFailure)
    }

    private func fail(
        _ connection: UnsafeMutablePointer<Connection>, _ failure: ParseFailure,
        near rest: UnsafeRawBufferPointer
    ) {
        let label = unsafe connection.pointee.label
        switch failure {
        case .unknownOperation:
            let near = unsafe String(decoding: rest.prefix(32), as: UTF8.self)
            logger.error("\(label) - Client parser ERROR, state=0, i=0: proto='\(near.debugDescription)...'")
            unsafe fail(connection, ErrorText.unknownOperation, .protocolViolation)
        case .badArguments(let operation):
            let near = unsafe String(decoding: rest.prefix(32), as: UTF8.self)
            logger.error("\(label) - \(Self.functionName(operation)) Parse Error: \(near.debugDescription)")
            unsafe finish(connection, .protocolViolation)
        case .controlLineTooLong:
            logger.error("\(label) - maximum control line exceeded: limit \(limits.controlLine)")
            unsafe fail(connection, ErrorText.controlLineTooLong, .controlLineTooLong)
        case .payloadTooLarge(let size):
            logger.error("\(label) - maximum payload exceeded: \(size) vs \(limits.payload)")
            unsafe fail(connection, ErrorText.payloadTooLarge, .payloadTooLarge)
        }
    }

    /// As the reference names it in its log.
    private static func functionName(_ operation: Operation.Kind) -> String {
        switch operation {
        case .subscribe: "processSub"
        case .unsubscribe: "processUnsub"
        default: "processPub"
        }
    }

    // MARK: Operations

    /// Every operation but the publishes.
    private func handle(_ connection: UnsafeMutablePointer<Connection>) {
        if traces { unsafe traceOperation(connection) }
        switch unsafe state.pointee.operation.kind {
        case .publish: preconditionFailure("publishes have their own way")
        case .ping:
            unsafe connection.pointee.keepAlive.lastActivity = unsafe state.pointee.now
            unsafe answerPing(connection)
        case .pong:
            unsafe connection.pointee.keepAlive.receivedPong(now: state.pointee.now)
        case .subscribe:
            unsafe connection.pointee.keepAlive.lastActivity = unsafe state.pointee.now
            unsafe subscribe(connection)
        case .unsubscribe:
            unsafe connection.pointee.keepAlive.lastActivity = unsafe state.pointee.now
            unsafe unsubscribe(connection)
        case .connect: unsafe connect(connection)
        case .info:
            guard let value = unsafe JSONValue(parsing: state.pointee.operation.argument) else {
                unsafe finish(connection, .protocolViolation)
                return
            }
            if case .object = value { return }
            unsafe finish(connection, .protocolViolation)
        case .ok: break
        case .error:
            let text = unsafe String(decoding: state.pointee.operation.argument, as: UTF8.self)
            logger.error(unsafe "\(connection.pointee.label) - Client error \(text)")
            unsafe finish(connection, .parseError)
        }
    }

    private func connect(_ connection: UnsafeMutablePointer<Connection>) {
        guard let connect = unsafe ConnectOptions(parsing: state.pointee.operation.argument) else {
            logger.error(unsafe "\(connection.pointee.label) - CONNECT is not valid JSON or has a wrong type")
            unsafe finish(connection, .protocolViolation)
            return
        }
        let now = unsafe state.pointee.now
        unsafe connection.pointee.keepAlive.lastActivity = now
        let admission = shared.credentials.admission(connect)
        guard admission != .refused else {
            unsafe failAuthentication(connection)
            return
        }
        if connect.namesLegacyAccount {
            unsafe failAuthentication(connection)
            return
        }
        unsafe connection.pointee.isAuthenticated = true
        unsafe connection.pointee.isAdministrator = admission == .administrator
        unsafe connection.pointee.authenticationDeadline = .max
        guard connect.protocolVersion == 0 || connect.protocolVersion == 1 else {
            unsafe fail(connection, ErrorText.invalidProtocol, .badProtocolVersion)
            return
        }
        if connect.noResponders, !connect.headers {
            unsafe fail(connection, ErrorText.noRespondersRequiresHeaders, .noRespondersRequiresHeaders)
            return
        }
        unsafe connection.pointee.isVerbose = connect.verbose
        unsafe connection.pointee.isPedantic = connect.pedantic
        unsafe connection.pointee.echoes = connect.echo
        unsafe connection.pointee.takesHeaders = connect.headers
        unsafe connection.pointee.wantsNoResponders = connect.noResponders
        unsafe connection.pointee.protocolVersion = connect.protocolVersion
        if unsafe !connection.pointee.hasConnected {
            unsafe connection.pointee.hasConnected = true
            let words = [
                connect.version.isEmpty ? [] : Array("v".utf8) + connect.version, connect.language,
                connect.name,
            ]
            .filter { !$0.isEmpty }.map { String(decoding: $0, as: UTF8.self) }.joined(separator: ":")
            if !words.isEmpty { unsafe connection.pointee.label += " - \(words.debugDescription)" }
            if let user = shared.credentials.user(of: connect) {
                let name = "$G/user:" + String(decoding: user, as: UTF8.self)
                unsafe connection.pointee.label += " - \(name.debugDescription)"
            }
            unsafe connection.pointee.keepAlive.connected(
                now: now, jitter: Double.random(in: 0..<1, using: &state.pointee.random))
            unsafe scheduleDeadline(connection)
        }
        if connect.verbose { unsafe sendOK(connection) }
    }

    private func answerPing(_ connection: UnsafeMutablePointer<Connection>) {
        if hasOtherLoops, unsafe connection.pointee.hasWorkElsewhere {
            unsafe beginFence(connection)
        } else {
            unsafe sendPong(connection)
        }
    }

    /// Everything that the client sent before its PING is in force.
    func sendPong(_ connection: UnsafeMutablePointer<Connection>) {
        if traces { unsafe trace(connection, "->> [PONG]") }
        unsafe send("PONG\r\n", to: connection)
        unsafe connection.pointee.keepAlive.hasSentFirstPong = true
        if unsafe connection.pointee.protocolVersion >= 1, unsafe !connection.pointee.hasSentConnectInfo {
            unsafe connection.pointee.hasSentConnectInfo = true
            unsafe send(infoLine(connection, isAfterConnect: true), to: connection)
        }
    }
}
