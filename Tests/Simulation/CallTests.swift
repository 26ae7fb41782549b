import BrokerLog
import Testing

@Suite("The log with a fault at every call of the disk")
struct CallTests {
    @Test(
        "a crash at every call of scripted runs, three deep into recovery", arguments: Script.all,
        [false, true])
    func crashes(script: Script, writesOnLoop: Bool) throws {
        var total = Tally()
        let calls = try calls(script, writesOnLoop).count
        for at in 0..<calls {
            for kind in [SimulatedFileSystem.Crash.dropAll, .random, .random, .process] {
                let seed = UInt64(at * 7 + 1)
                let run = try script.simulation(seed: seed, writesOnLoop: writesOnLoop)
                do {
                    run.faults.arm(.dies(at: at), on: run.disk)
                    try script.body(run)
                    for depth in 0..<(kind == .random ? 3 : 0) {
                        run.disk.crash(.random)
                        run.faults.arm(.dies(at: (at * 5 + depth * 3) % 17), on: run.disk)
                        _ = try? Log.open(
                            run.configuration, fileSystem: run.disk, clock: LogClock { 0 }, wake: {})
                    }
                    try run.reopen(after: kind)
                    try run.checkTwice()
                    try goOn(run)
                } catch {
                    Seeds.fail("CallTests", seed: seed, error, run)
                    Issue.record(
                        "script \(script.name), on the loop: \(writesOnLoop), crash \(kind) at call \(at)")
                    total.failures += 1
                    if total.failures == 3 { return }
                }
                total.add(run)
            }
        }
        total.say("script \(script.name)\(writesOnLoop ? " on the loop" : ""), \(calls) crash points")
    }

    @Test("every call fails, once and from then on", arguments: Script.all, [false, true])
    func failures(script: Script, writesOnLoop: Bool) throws {
        var total = Tally()
        let kinds = try calls(script, writesOnLoop)
        for (at, call) in kinds.enumerated() {
            for code in FaultCode.possible(call) {
                for forever in [false, true] {
                    let run = try script.simulation(seed: 1, writesOnLoop: writesOnLoop)
                    do {
                        run.faults.arm(.fails(at: at, code: code.rawValue, forever: forever), on: run.disk)
                        run.allowsDamage = call == .read || call == .size
                        try script.body(run)
                        // Whatever failed, what is durable is served.
                        run.faults.clear()
                        try run.look()
                        try run.reopen(after: at % 2 == 0 ? .random : .process)
                        try run.checkTwice()
                        try goOn(run)
                    } catch {
                        Seeds.fail("CallTests", seed: UInt64(at), error, run)
                        Issue.record(
                            "script \(script.name), on the loop: \(writesOnLoop), \(call) (call \(at)) fails with \(code), forever: \(forever)"
                        )
                        total.failures += 1
                        if total.failures == 3 { return }
                    }
                    total.add(run)
                }
            }
        }
        total.say(
            "script \(script.name)\(writesOnLoop ? " on the loop" : ""), \(kinds.count) calls that fail")
    }

    /// The store takes messages, and they are there after the next crash.
    private func goOn(_ run: Simulation) throws {
        let id = run.model.existing(at: .max).last
        try run.append(2, of: 300, to: id)
        try run.commit()
        run.checkpoint()
        try run.commit()
        try run.background()
        let durable = run.model.durable
        guard id == nil || durable >= run.model.last else {
            throw Violation(
                description: "the store does not take messages any more: \(run.log.closedReason ?? "")")
        }
        try run.reopen(after: .dropAll)
    }

    private func calls(_ script: Script, _ writesOnLoop: Bool) throws -> [SimulatedFileSystem.Call] {
        let run = try script.simulation(seed: 1, writesOnLoop: writesOnLoop)
        run.faults.arm(.none, on: run.disk)
        try script.body(run)
        return run.faults.calls
    }
}
