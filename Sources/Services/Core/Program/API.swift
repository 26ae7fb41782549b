import AsyncHTTPClient
import Hummingbird
import Logging
import NIOCore
import Postgres

/// The public face of a service: its routes, and what every request goes through before them.
struct API {
    let responder: RequestResponder
    let routes: [String]

    init<Service: BackendService>(_ service: Service, resources: ServiceResources, keys: KeyStore) {
        let (configuration, clock) = (resources.configuration, resources.clock)
        let verifier = TokenVerifier(configuration.signIn, keys: keys, clock: clock)
        let routes = ServiceRouter(authenticator: Authenticator(verifier: verifier))
        Self.addRoutes(service, to: routes, resources.database)
        self.routes = routes.routes
        responder = RequestResponder(
            router: routes.router.buildResponder(),
            log: RequestRecorder(logger: resources.logger, metrics: resources.metrics),
            cors: CORS(origins: Set(configuration.corsOrigins)), errors: ErrorAnswers(table: routes.table),
            clock: clock)
    }

    private static func addRoutes<Service: BackendService>(
        _ service: Service, to router: ServiceRouter, _ database: Database
    ) {
        router.get("/api/v1/health", for: .anyone) { call in
            do {
                try await database.check()
                return Reply(.ok, body: Array(#"{"status":"ok"}"#.utf8))
            } catch {
                call.logger.error("the database is not ready", metadata: ["error": "\(error)"])
                return Reply(.internalServerError, body: Array(#"{"status":"db not ready"}"#.utf8))
            }
        }
        router.get("/api/v1/\(Service.name)/openapi.yaml", for: .anyone) { _ in
            Reply(.ok, body: Service.openAPI, contentType: "application/yaml")
        }
        service.addRoutes(to: router)
    }
}

extension KeyStore {
    /// Fetches the keys that the configuration names, within 5 s.
    static func make(_ resources: ServiceResources) -> KeyStore {
        let (client, url) = (resources.httpClient, resources.configuration.signIn.keysURL)
        return KeyStore(clock: resources.clock, metrics: resources.metrics, logger: resources.logger) {
            let response = try await client.execute(HTTPClientRequest(url: url), timeout: .seconds(5))
            guard response.status == .ok else {
                throw JSONFailure("the issuer answered \(response.status.code)")
            }
            let body = try await response.body.collect(upTo: 1 << 20)
            return Array(body.readableBytesView)
        }
    }
}
