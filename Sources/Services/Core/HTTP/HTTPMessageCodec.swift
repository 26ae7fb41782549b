import HTTPTypes
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// The client is to send the body that it has announced: no answer, so nothing counts it as one.
struct BodyAwaited {}

/// The whole answer to a request. Its length is among its fields.
struct HTTPAnswer: Equatable {
    var head: HTTPResponse
    var body = ByteBuffer()
}

/// Between HTTP/1.1 as NIO's parser has it and what this service works with: requests get HTTPTypes' names, an answer becomes
/// bytes in one write.
///
/// NIO's own way is a handler that renames, another one that writes, and three buffers an answer; its heads of requests go
/// through Foundation's parser of URLs. That was a quarter of a request that asks no database (docs/decisions/0034).
///
/// One a connection, on its event loop.
final class HTTPMessageCodec: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPAnswer
    typealias OutboundOut = ByteBuffer

    /// A body that is larger goes out in a buffer of its own, for it would cost more to copy it than to send two.
    private static let copiedBody = 16_384

    /// Room for the head of nearly every answer.
    private static let headSize = 512

    private var date = HTTPDate()
    /// A head was no request, so nothing that follows it is one.
    private var isBroken = false

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guard !isBroken else { return }
        switch unwrapInboundIn(data) {
        case .head(let head):
            do {
                context.fireChannelRead(wrapInboundOut(.head(try Self.request(head))))
            } catch {
                isBroken = true
                context.fireErrorCaught(HTTPParserError.invalidMethod)
            }
        case .body(let bytes): context.fireChannelRead(wrapInboundOut(.body(bytes)))
        case .end(let trailers):
            context.fireChannelRead(
                wrapInboundOut(.end(trailers.map { HTTPFields($0, splitCookie: false) })))
        }
    }

    /// The request, whose field `Connection` is `close` if it is the connection's last one and `keep-alive` if its client
    /// has to be told that it is not.
    ///
    /// - Throws: For a method that is no token, which the parser lets nobody send.
    static func request(_ head: HTTPRequestHead) throws -> HTTPRequest {
        var request = try named(head)
        if !head.isKeepAlive || stopsParser(head) {
            request.headerFields[.connection] = "close"
        } else if head.version.minor == 0 {
            request.headerFields[.connection] = "keep-alive"
        }
        // Its clients know nothing of answers before the answer.
        if head.version.minor == 0 { request.headerFields[.expect] = nil }
        return request
    }

    /// Whether the parser takes what follows for another protocol's, which this service does not speak.
    private static func stopsParser(_ head: HTTPRequestHead) -> Bool {
        if head.method == .CONNECT { return true }
        return head.headers.contains(name: "upgrade")
            && head.headers[canonicalForm: "connection"].contains { $0.lowercased() == "upgrade" }
    }

    private static func named(_ head: HTTPRequestHead) throws -> HTTPRequest {
        // The form that all send who do not talk to a proxy (RFC 9112, 3.2.1): it is the path and the query.
        guard head.uri.utf8.first == UInt8(ascii: "/") else {
            return try HTTPRequest(head, secure: false, splitCookie: false)
        }
        var authority: String?
        var fields = HTTPFields()
        fields.reserveCapacity(head.headers.count)
        for (name, value) in head.headers {
            guard let name = HTTPField.Name(name) else { continue }
            if authority == nil, name.canonicalName == "host" {
                authority = value
            } else {
                fields.append(HTTPField(name: name, value: value))
            }
        }
        return HTTPRequest(
            method: try HTTPRequest.Method(head.method), scheme: "http", authority: authority, path: head.uri,
            headerFields: fields)
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        let answer = unwrapOutboundIn(data)
        let size = answer.body.readableBytes
        let isCopied = size <= Self.copiedBody
        var bytes = context.channel.allocator.buffer(capacity: Self.headSize + (isCopied ? size : 0))
        Self.write(answer.head, date: date.line(), to: &bytes)
        if isCopied {
            bytes.writeImmutableBuffer(answer.body)
            context.write(wrapOutboundOut(bytes), promise: promise)
        } else {
            context.write(wrapOutboundOut(bytes), promise: nil)
            context.write(wrapOutboundOut(answer.body), promise: promise)
        }
    }

    func triggerUserOutboundEvent(
        context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?
    ) {
        guard event is BodyAwaited else {
            context.triggerUserOutboundEvent(event, promise: promise)
            return
        }
        let line = ByteBuffer(staticString: "HTTP/1.1 100 Continue\r\n\r\n")
        context.writeAndFlush(wrapOutboundOut(line), promise: promise)
    }

    /// RFC 9112, 4 and 5; HTTPTypes has seen to it that no field holds a line end.
    private static func write(_ head: HTTPResponse, date: [UInt8], to buffer: inout ByteBuffer) {
        buffer.writeStaticString("HTTP/1.1 ")
        buffer.writeString(head.status == .ok ? "200 OK" : "\(head.status.code) \(head.status.reasonPhrase)")
        buffer.writeStaticString("\r\n")
        for field in head.headerFields {
            buffer.writeString(field.name.rawName)
            buffer.writeStaticString(": ")
            buffer.writeString(field.value)
            buffer.writeStaticString("\r\n")
        }
        buffer.writeBytes(date)
        buffer.writeStaticString("\r\n")
    }
}
