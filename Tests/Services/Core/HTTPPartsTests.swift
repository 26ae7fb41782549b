import HTTPTypes
import Testing

@testable import ServicesCore

@Suite("Parts of requests")
struct HTTPPartsTests {
    @Test("a UUID has 36 characters and is put into lower case")
    func uuids() {
        #expect(
            "A4B54EC1-57F9-4C39-AB53-D936DBB6C177".canonicalUUID == "a4b54ec1-57f9-4c39-ab53-d936dbb6c177")
        for text in [
            "", "123", "a4b54ec157f94c39ab53d936dbb6c177", "{a4b54ec1-57f9-4c39-ab53-d936dbb6c17}",
            "a4b54ec1-57f9-4c39-ab53-d936dbb6c17g", "a4b54ec1-57f9-4c39-ab53-d936dbb6c1777",
            "a4b54ec1_57f9_4c39_ab53_d936dbb6c177", "a4b54ec1-57f9-4c39-ab53-d936dbb6c17\u{FF11}",
        ] {
            #expect(text.canonicalUUID == nil, "\(text)")
        }
    }

    @Test("a new UUID is one, of version 4")
    func newUUID() {
        let text = String.makeUUID(high: .max, low: 0)
        #expect(text == "ffffffff-ffff-4fff-8000-000000000000")
        #expect(String.makeUUID().canonicalUUID != nil)
        #expect(String.makeUUID() != String.makeUUID())
    }

    @Test("the trace id is the caller's, else that of traceparent, else a new one")
    func traceIDs() throws {
        let traceID = try #require(HTTPField.Name("X-Trace-Id"))
        let parent = try #require(HTTPField.Name("traceparent"))
        let given = "0af76519-16cd-43dd-8448-eb211c80319c"
        let both: HTTPFields = [
            traceID: given, parent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ]
        #expect(TraceID(both).text == given)
        #expect(
            TraceID([traceID: "mine", parent: both[parent] ?? ""]).text
                == "4bf92f35-77b3-4da6-a3ce-929d0e0e4736")
        for text in [
            "", "00-4bf92f3577b34da6a3ce929d0e0e4736",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01", "00-xyz-00f067aa0ba902b7-01",
        ] {
            #expect(TraceID([parent: text]).text.canonicalUUID != nil, "\(text)")
        }
    }

    @Test("a field's value is what HTTPTypes makes of it, also of several fields")
    func fieldValue() {
        let fields: HTTPFields = [
            .authorization: "Bearer a", .accept: "x", .cookie: "c=1", .accept: "y", .cookie: "d=2",
            .expect: "",
        ]
        for (name, value) in [
            (HTTPField.Name.authorization, "Bearer a"), (.accept, "x, y"), (.cookie, "c=1; d=2"),
            (.expect, ""),
            (.origin, nil),
        ] {
            #expect(fields.value(of: name) == value)
            #expect(fields[name] == value)
        }
    }

    @Test("the methods of a path are those of its most literal route")
    func routeTable() {
        var table = RouteTable()
        table.add(.get, "/projects/:pid")
        table.add(.delete, "/projects/:pid")
        table.add(.get, "/projects/openapi.yaml")
        table.add(.patch, "/projects/tasks/:tid/move")
        #expect(table.methods(of: "/projects/1") == ["DELETE", "GET", "OPTIONS"])
        #expect(table.methods(of: "/projects/openapi.yaml") == ["GET", "OPTIONS"])
        #expect(table.methods(of: "/projects/tasks/1/move") == ["OPTIONS", "PATCH"])
        #expect(table.methods(of: "/projects/1/2") == [])
        #expect(table.routes.contains("PATCH /projects/tasks/{tid}/move"))
    }

    @Test("validation names every field that is wrong, counting characters as the database does")
    func validation() {
        var validation = Validation()
        #expect(validation.text("a", "  äöü ", 1...3) == "äöü")
        _ = validation.text("b", nil, 1...3)
        _ = validation.text("c", "   ", 1...3)
        _ = validation.text("d", "😀😀😀😀", 1...3)
        _ = validation.id("e", "x")
        _ = validation.id("f", "", mayBeEmpty: true)
        _ = validation.range("g", -1, 0...5)
        #expect(
            throws: RequestError.validation([
                .init("b", "b is a required field"), .init("c", "c is a required field"),
                .init("d", "d must be a maximum of 3 characters in length"),
                .init("e", "e must be a valid UUID"),
                .init("g", "g must be 0 or greater"),
            ])
        ) { try validation.finish() }
    }

    @Test("metrics are written as Prometheus reads them")
    func metrics() {
        let metrics = Metrics()
        let histogram = Metrics.Metric("h", .histogram, "A histogram.", bounds: [1, 2])
        metrics.add(.requests, 2, ["method": "GET", "route": "a\"b\\c\nd", "status": "200"])
        metrics.observe(histogram, 1.5)
        metrics.observe(histogram, 3)
        let text = metrics.prometheusText
        #expect(text.contains(#"http_requests_total{method="GET",route="a\"b\\c\nd",status="200"} 2"#))
        #expect(
            text.contains(
                "h_bucket{le=\"1\"} 0\nh_bucket{le=\"2\"} 1\nh_bucket{le=\"+Inf\"} 2\nh_sum 4.5\nh_count 2\n")
        )
    }
}
