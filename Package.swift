// swift-tools-version: 6.2
// The package: dependencies point one way, from what knows little to what knows much
// (docs/architecture.md, "Layout").
import PackageDescription

/// Settings of every source target: Swift 6 mode, each unsafe use says so, warnings are errors.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .treatAllWarnings(as: .error),
]

/// Codecs and the log are optimised in debug builds too, so that thousands of simulated
/// seeds fit into a debug test run.
let strictAndOptimised: [SwiftSetting] =
    strict + [.unsafeFlags(["-O"], .when(configuration: .debug))]

/// The message path, and what every request of a service goes through: exclusive access is checked at run time in debug
/// builds and tests alone, where it costs nobody anything (docs/decisions/0030, 0034).
let messagePath: [SwiftSetting] = [
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release))
]

/// The services: an async function runs where its caller does, so that no request pays for asking where to go on at each
/// of its returns (SE-0461).
let onCaller: [SwiftSetting] = [.enableUpcomingFeature("NonisolatedNonsendingByDefault")]

/// Test targets: `#expect` on a `RawSpan` does not compile under strict memory safety.
let tests: [SwiftSetting] = [.swiftLanguageMode(.v6), .treatAllWarnings(as: .error)]

/// The simulation compares every byte of thousands of stores.
let testsOptimised: [SwiftSetting] = tests + [.unsafeFlags(["-O"], .when(configuration: .debug))]

let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let argumentParser: Target.Dependency =
    .product(name: "ArgumentParser", package: "swift-argument-parser")
// The services alone use these: they would triple the broker's build and double its memory.
let hummingbird: Target.Dependency = .product(name: "Hummingbird", package: "hummingbird")
let httpClient: Target.Dependency = .product(name: "AsyncHTTPClient", package: "async-http-client")
let serviceLifecycle: Target.Dependency =
    .product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let hummingbirdCore: Target.Dependency = .product(name: "HummingbirdCore", package: "hummingbird")
let httpTypes: Target.Dependency = .product(name: "HTTPTypes", package: "swift-http-types")
let nioHTTPTypesHTTP1: Target.Dependency =
    .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras")
let nioHTTPTypes: Target.Dependency = .product(name: "NIOHTTPTypes", package: "swift-nio-extras")
let unixSignals: Target.Dependency = .product(name: "UnixSignals", package: "swift-service-lifecycle")
let jwtKit: Target.Dependency = .product(name: "JWTKit", package: "jwt-kit")

let package = Package(
    name: "devpie-client-backend",
    products: [
        .executable(name: "broker", targets: ["BrokerCommand"]),
        .executable(name: "migrate", targets: ["MigrateCommand"]),
        .executable(name: "users", targets: ["UsersCommand"]),
        .executable(name: "projects", targets: ["ProjectsCommand"]),
        .library(name: "Postgres", targets: ["Postgres", "PostgresFoundation"]),
        .library(name: "Migrate", targets: ["Migrate"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.1"),
    ],
    targets: [
        .systemLibrary(name: "CLZ4", pkgConfig: "liblz4", providers: [.apt(["liblz4-dev"])]),
        .target(name: "CBroker", cSettings: [.unsafeFlags(["-O2"])]),

        .target(name: "Flags", swiftSettings: strict),
        .target(name: "BrokerProtocol", swiftSettings: strictAndOptimised + messagePath),
        .target(
            name: "BrokerLog", dependencies: ["BrokerProtocol", "CBroker", "CLZ4"],
            swiftSettings: strictAndOptimised + messagePath),
        .target(
            name: "Broker",
            dependencies: ["BrokerProtocol", "BrokerLog", nioCore, nioPosix, nioHTTP1, logging],
            swiftSettings: strict + messagePath),
        .target(
            name: "BrokerClient", dependencies: ["BrokerProtocol", nioCore, nioPosix, logging],
            swiftSettings: strict),
        .executableTarget(
            name: "BrokerCommand",
            dependencies: [
                "Broker", "BrokerClient", "BrokerLog", "BrokerProtocol", "Flags", argumentParser, logging,
                nioCore, nioPosix,
                nioHTTP1,
            ],
            swiftSettings: strict),

        .systemLibrary(name: "CLibPQ", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .target(
            name: "Postgres", dependencies: ["CLibPQ", logging], swiftSettings: strict + messagePath),
        .target(name: "PostgresFoundation", dependencies: ["Postgres"], swiftSettings: strict),
        .target(name: "Migrate", dependencies: ["Postgres"], swiftSettings: strict),
        .target(name: "CArguments", cSettings: [.unsafeFlags(["-O2"])]),
        .executableTarget(
            name: "MigrateCommand", dependencies: ["Migrate", "Postgres", "Flags", "CArguments"],
            swiftSettings: strict),
        // The load of Benchmarks/Postgres/run.sh.
        .executableTarget(
            name: "PostgresBenchmark", dependencies: ["Postgres"], path: "Benchmarks/Postgres",
            exclude: ["run.sh"], swiftSettings: strict),

        // The services: a library each, which tests start in their own process, and a command of one line.
        .target(
            name: "ServicesCore",
            dependencies: [
                "BrokerClient", "BrokerProtocol", "Flags", "Postgres", hummingbird, httpClient, jwtKit,
                logging,
                nioCore, nioHTTP1, hummingbirdCore, httpTypes, nioHTTPTypes, nioHTTPTypesHTTP1,
                serviceLifecycle,
                unixSignals,
            ],
            path: "Sources/Services/Core", swiftSettings: strict + messagePath + onCaller),
        .target(
            name: "UsersService",
            dependencies: [
                "BrokerClient", "ServicesCore", "BrokerProtocol", "Postgres", httpClient, logging, nioCore,
                nioHTTP1,
            ],
            path: "Sources/Services/Users",
            exclude: ["Command", "Migrations"], resources: [.embedInCode("openapi.yaml")],
            swiftSettings: strict + onCaller),
        .executableTarget(
            name: "UsersCommand", dependencies: ["ServicesCore", "UsersService"],
            path: "Sources/Services/Users/Command",
            swiftSettings: strict),
        .target(
            name: "ProjectsService", dependencies: ["BrokerProtocol", "Postgres", "ServicesCore"],
            path: "Sources/Services/Projects",
            exclude: ["Command", "Migrations"], resources: [.embedInCode("openapi.yaml")],
            swiftSettings: strict + onCaller),
        .executableTarget(
            name: "ProjectsCommand", dependencies: ["ProjectsService", "ServicesCore"],
            path: "Sources/Services/Projects/Command", swiftSettings: strict),

        .testTarget(name: "FlagsTests", dependencies: ["Flags"], swiftSettings: tests),
        .testTarget(
            name: "BrokerProtocolTests", dependencies: ["BrokerProtocol"], exclude: ["Fixtures"],
            swiftSettings: tests),
        .testTarget(
            name: "BrokerLogTests", dependencies: ["BrokerLog", "BrokerProtocol"],
            swiftSettings: tests),
        .testTarget(
            name: "SimulationTests", dependencies: ["BrokerLog"], path: "Tests/Simulation",
            exclude: ["mutants"], swiftSettings: testsOptimised),
        .testTarget(
            name: "BrokerTests",
            dependencies: [
                "Broker", "BrokerLog", "BrokerProtocol", nioCore,
                .product(name: "NIOEmbedded", package: "swift-nio"),
                nioPosix,
            ],
            swiftSettings: tests),
        .testTarget(
            name: "BrokerClientTests",
            dependencies: ["BrokerClient", "Broker", "BrokerProtocol", logging, nioCore, nioPosix],
            swiftSettings: tests),
        .testTarget(
            name: "BrokerCommandTests",
            dependencies: ["BrokerCommand", "Broker", "BrokerClient", "BrokerLog", "Flags", logging],
            swiftSettings: tests),
        // A PostgreSQL server of the test run's own.
        .target(name: "PostgresCluster", path: "Tests/PostgresCluster", swiftSettings: tests),
        .testTarget(
            name: "PostgresTests", dependencies: ["Postgres", "PostgresFoundation", "PostgresCluster"],
            swiftSettings: tests),
        .testTarget(
            name: "MigrateTests", dependencies: ["Migrate", "Postgres", "PostgresCluster"],
            swiftSettings: tests),
        .testTarget(
            name: "MigrateCommandTests",
            dependencies: ["MigrateCommand", "Migrate", "Postgres", "PostgresCluster"],
            swiftSettings: tests),
        // What tests of services start beside them: a token issuer, a broker, a database with its migrations.
        .target(
            name: "ServicesTesting",
            dependencies: [
                "ServicesCore", "Broker", "BrokerClient", "BrokerLog", "BrokerProtocol", "Flags", "Migrate",
                "Postgres", "PostgresCluster", hummingbird, httpClient, jwtKit, logging, nioCore,
                .product(name: "CryptoExtras", package: "swift-crypto"),
            ],
            path: "Tests/ServicesTesting", swiftSettings: tests),
        .testTarget(
            name: "ServicesCoreTests",
            dependencies: [
                "BrokerProtocol", "Flags", "Postgres", "PostgresCluster", "ServicesCore", "ServicesTesting",
                hummingbird, httpTypes, logging, nioCore, .product(name: "NIOEmbedded", package: "swift-nio"),
                nioHTTPTypes, nioPosix,
            ],
            path: "Tests/Services/Core", swiftSettings: tests),
        .testTarget(
            name: "UsersServiceTests",
            dependencies: [
                "UsersService", "ServicesCore", "ServicesTesting", "BrokerClient", "Postgres",
                "PostgresCluster",
                httpClient, logging, nioCore, nioHTTP1, nioPosix,
            ],
            path: "Tests/Services/Users", swiftSettings: tests),
        .testTarget(
            name: "ProjectsServiceTests",
            dependencies: [
                "BrokerClient", "Postgres", "PostgresCluster", "ProjectsService", "ServicesCore",
                "ServicesTesting",
            ],
            path: "Tests/Services/Projects", swiftSettings: tests),
    ]
)
