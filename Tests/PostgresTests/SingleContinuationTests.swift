import Testing

@testable import Postgres

/// What release builds wait with: these tests are all that run it in a debug build.
@Suite struct SingleContinuationTests {
    private struct Late: Error {}

    @Test("a task that is resumed at once, from elsewhere, or with an error goes on with what it was given")
    func resumed() async throws {
        #expect(
            await unsafe withUnsafeContinuation { unsafe SingleContinuation($0).resume(returning: 1) } == 1)
        let later = await unsafe withUnsafeContinuation { base in
            let continuation = unsafe SingleContinuation<Int, Never>(base)
            Task.detached { continuation.resume(returning: 2) }
        }
        #expect(later == 2)
        await #expect(throws: Late.self) {
            try await unsafe withUnsafeThrowingContinuation { base in
                unsafe SingleContinuation<Void, any Error>(base).resume(with: .failure(Late()))
            }
        }
    }

    @Test("a second resumption stops the process")
    func resumedTwice() async {
        await #expect(processExitsWith: .failure) {
            await unsafe withUnsafeContinuation { base in
                let continuation = unsafe SingleContinuation<Void, Never>(base)
                continuation.resume()
                continuation.resume()
            }
        }
    }
}
