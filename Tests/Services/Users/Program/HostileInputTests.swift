import Foundation
import ServicesCore
import ServicesTesting
import Testing

@testable import UsersService

@Suite("hostile input", .serialized) struct HostileInputTests {
    /// Every route with a body, and where its ids go.
    private static let routes: [(method: String, path: String)] = [
        ("POST", ""), ("PATCH", "/me"), ("POST", "/teams"), ("POST", "/teams/ID/invites"),
        ("PATCH", "/teams/ID/invites/ID"), ("PATCH", "/teams/ID/members/ID"),
    ]

    private static let bodies: [(String, [UInt8])] = [
        ("empty", []), ("blank", Array("  \n".utf8)), ("null", Array("null".utf8)),
        ("a list", Array("[]".utf8)),
        ("a string", Array("\"x\"".utf8)), ("cut off", Array("{\"name\":\"x".utf8)),
        ("two values", Array("{} {}".utf8)),
        ("unknown field", Array("{\"admin\":true}".utf8)),
        ("duplicate field", Array("{\"name\":\"a\",\"name\":\"b\"}".utf8)),
        ("no UTF-8", Array("{\"name\":\"".utf8) + [0xC3, 0x28] + Array("\"}".utf8)),
        ("lone surrogate", Array("{\"name\":\"\\uD800\",\"role\":\"\\uD800\"}".utf8)),
        ("NUL", Array("{\"name\":\"a\\u0000b\",\"firstName\":\"a\\u0000b\",\"role\":\"\\u0000\"}".utf8)),
        (
            "wrong types",
            Array("{\"name\":1,\"role\":[],\"accepted\":\"yes\",\"firstName\":{},\"emailList\":[1]}".utf8)
        ),
        ("deep", Array((String(repeating: "[", count: 100_000)).utf8)),
        ("deep objects", Array((String(repeating: "{\"a\":", count: 50_000)).utf8)),
        ("large number", Array("{\"role\":1e999999999}".utf8)), ("comment", Array("/* x */ {}".utf8)),
    ]

    @Test("every body that is none is refused with 400 and a sentence, and nothing changes")
    func bodies() async throws {
        try await UsersTest.run { test in
            let before = try await test.fingerprint()
            let token = try await test.service.issuer.token(UsersTest.ann)
            for (method, path) in Self.routes {
                for (name, body) in Self.bodies {
                    let url =
                        test.service.url + "/api/v1/users" + path.replacing("ID", with: UsersTest.project)
                    let reply = try await test.service.send(
                        method, url, [("Authorization", "Bearer \(token)")], body)
                    #expect(reply.status == 400, "\(method) \(path), \(name): \(reply.status) \(reply.body)")
                    #expect(!reply.error.isEmpty)
                }
            }
            #expect(try await test.fingerprint() == before)
        }
    }

    @Test("ids that are none are refused with 400 wherever they stand")
    func ids() async throws {
        try await UsersTest.run { test in
            let good = UsersTest.project
            let paths: [(String, String)] = [
                ("GET", "/teams/BAD"), ("GET", "/teams/BAD/members"), ("POST", "/teams/BAD/leave"),
                ("POST", "/teams/BAD/project/\(good)"), ("POST", "/teams/\(good)/project/BAD"),
                ("DELETE", "/teams/BAD/members/\(good)"), ("DELETE", "/teams/\(good)/members/BAD"),
                ("DELETE", "/teams/BAD/invites/\(good)"), ("DELETE", "/teams/\(good)/invites/BAD"),
            ]
            for (method, path) in paths {
                for bad in [
                    "1", "'%20OR%20'1'='1", "%00", String(repeating: "a", count: 36), "\(good)0", "%C3%A4",
                ] {
                    let reply = try await test.send(
                        method, path.replacing("BAD", with: bad), as: UsersTest.ann)
                    #expect(reply.status == 400, "\(method) \(path) \(bad): \(reply.status)")
                    #expect(reply.error == "id provided was not a valid UUID")
                }
            }
        }
    }

    @Test("SQL in names is a name")
    func injection() async throws {
        try await UsersTest.run { test in
            for name in ["'; DROP TABLE teams; --", "$1", "{\"a\"}", "\\'; SELECT 1", "%s%n", "🦆'\"\\"] {
                let json = String(
                    decoding: try JSONEncoder().encode(["name": name, "projectId": UsersTest.project]),
                    as: UTF8.self)
                let reply = try await test.send("POST", "/teams", as: UsersTest.ann, json)
                #expect(reply.status == 201 && reply.text("name") == name)
                #expect(
                    try await test.send("GET", "/teams/\(reply.text("id"))", as: UsersTest.ann).text("name")
                        == name)
            }
        }
    }

    @Test("every route but health and the document asks for a token")
    func tokens() async throws {
        try await UsersTest.run { test in
            for route in test.service.service.routes {
                let parts = route.split(separator: " ")
                let path = String(parts[1]).replacing(/\{[a-z]+\}/, with: UsersTest.project)
                let reply = try await test.service.send(String(parts[0]), path, as: nil, "{}")
                if path == "/api/v1/health" || path.hasSuffix("openapi.yaml") {
                    #expect(reply.status == 200)
                } else {
                    #expect(reply.status == 401, "\(route)")
                    #expect(!reply.error.isEmpty)
                }
            }
        }
    }
}
