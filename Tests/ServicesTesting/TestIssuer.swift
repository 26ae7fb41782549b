import CryptoExtras
import Foundation
import Hummingbird
import JWTKit
import Logging
import ServicesCore
import Synchronization

/// An issuer of tokens: keys, a key set over HTTP, and signatures.
public final class TestIssuer: Sendable {
    /// The claims of a token; what is nil is left out.
    public struct Claims: JWTPayload {
        public var iss: String?
        public var aud: [String]?
        /// A string in place of an array.
        public var audText: String?
        public var sub: String?
        public var exp: Double?
        public var nbf: Double?
        public var iat: Double?
        public var userID: String?

        enum CodingKeys: String, CodingKey {
            case iss, aud, sub, exp, nbf, iat
            case userID = "https://client.devpie.io/claims/user_id"
        }

        public init() {}

        public init(from decoder: any Decoder) throws {}

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encodeIfPresent(iss, forKey: .iss)
            if let audText { try container.encode(audText, forKey: .aud) }
            try container.encodeIfPresent(aud, forKey: .aud)
            try container.encodeIfPresent(sub, forKey: .sub)
            try container.encodeIfPresent(exp, forKey: .exp)
            try container.encodeIfPresent(nbf, forKey: .nbf)
            try container.encodeIfPresent(iat, forKey: .iat)
            try container.encodeIfPresent(userID, forKey: .userID)
        }

        public func verify(using algorithm: some JWTAlgorithm) async throws {}
    }

    private struct State {
        var keys: [String: String] = [:]
        var requests = 0
        var isBroken = false
    }

    public static let audience = "https://devpie-dev.client/api"

    private let collection = JWTKeyCollection()
    private let state = Mutex(State())
    private let listener = Mutex<Listener?>(nil)

    private struct Listener {
        let port: Int
        let task: Task<Void, any Error>
    }

    /// An issuer with one RSA key, `rsa-1`, and one P-256 key, `ec-1`.
    public init() async throws {
        try await addRSAKey("rsa-1")
        try await addECKey("ec-1")
    }

    /// Makes an RSA key and puts it into the key set.
    public func addRSAKey(_ id: String) async throws {
        let key = try _RSA.Signing.PrivateKey(keySize: .bits2048)
        let primitives = try key.publicKey.getKeyPrimitives()
        await collection.add(
            rsa: try Insecure.RSA.PrivateKey(pem: key.pemRepresentation), digestAlgorithm: .sha256,
            kid: JWKIdentifier(string: id))
        publish(
            id,
            """
            {"kty":"RSA","use":"sig","alg":"RS256","kid":"\(id)","n":"\(Self.base64(primitives.modulus))",\
            "e":"\(Self.base64(primitives.publicExponent))"}
            """)
    }

    /// Makes a P-256 key and puts it into the key set.
    public func addECKey(_ id: String) async throws {
        let key = ES256PrivateKey()
        await collection.add(ecdsa: key, kid: JWKIdentifier(string: id))
        guard let parameters = key.publicKey.parameters else { return }
        publish(
            id,
            """
            {"kty":"EC","crv":"P-256","kid":"\(id)","x":"\(Self.url(parameters.x))","y":"\(Self.url(parameters.y))"}
            """)
    }

    private func publish(_ id: String, _ jwk: String) { state.withLock { $0.keys[id] = jwk } }

    /// Takes a key out of the key set.
    public func withdraw(_ id: String) { state.withLock { $0.keys[id] = nil } }

    /// The key set.
    public var keySet: String {
        state.withLock { state in
            "{\"keys\":[\(state.keys.sorted { $0.key < $1.key }.map(\.value).joined(separator: ","))]}"
        }
    }

    /// How often the key set was asked for.
    public var requests: Int { state.withLock { $0.requests } }

    /// Whether the key set answers 500.
    public var isBroken: Bool {
        get { state.withLock { $0.isBroken } }
        set { state.withLock { $0.isBroken = newValue } }
    }

    /// Listens on a free port.
    public func start() async throws {
        let router = Router()
        router.get("/.well-known/jwks.json") { [weak self] _, _ -> Response in
            guard let self else { return Response(status: .notFound) }
            let isBroken = state.withLock { state in
                state.requests += 1
                return state.isBroken
            }
            if isBroken { return Response(status: .internalServerError) }
            return Response(status: .ok, body: .init(byteBuffer: .init(string: keySet)))
        }
        let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
        var logger = Logger(label: "issuer")
        logger.logLevel = .error
        let application = Application(
            router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { continuation.yield($0.localAddress?.port ?? 0) }, logger: logger)
        let task = Task { try await application.run() }
        for await port in ports {
            listener.withLock { $0 = Listener(port: port, task: task) }
            return
        }
    }

    /// Ends listening.
    public func stop() async {
        let listener = listener.withLock { listener in
            defer { listener = nil }
            return listener
        }
        listener?.task.cancel()
        _ = try? await listener?.task.value
    }

    /// The base URL.
    public var baseURL: String { "http://127.0.0.1:\(listener.withLock { $0?.port ?? 1 })" }
    /// What `iss` is.
    public var issuer: String { baseURL + "/" }

    /// The claims of a good token.
    public func claims(_ userID: String?, now: Date = Date()) -> Claims {
        var claims = Claims()
        claims.iss = issuer
        claims.aud = [Self.audience, "https://other.example/userinfo"]
        claims.sub = "auth0|\(userID ?? "unregistered")"
        claims.exp = now.timeIntervalSince1970.rounded() + 3_600
        claims.iat = now.timeIntervalSince1970.rounded()
        claims.userID = userID
        return claims
    }

    /// A good token for a user.
    public func token(_ userID: String?) async throws -> String { try await sign(claims(userID)) }

    /// Signs claims with a key.
    public func sign(_ claims: Claims, key: String = "rsa-1") async throws -> String {
        try await collection.sign(claims, kid: JWKIdentifier(string: key))
    }

    private static func base64(_ data: Data) -> String { url(data.base64EncodedString()) }

    /// Base64 in its URL form, without padding.
    static func url(_ text: String) -> String {
        text.replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }
}
