extension Log {
    /// Keeps the engine's snapshot, taken now, which covers everything appended before this call. The rest
    /// happens in the background. Nothing to do with memory storage, or while a checkpoint is under way.
    public func checkpoint(state snapshot: [UInt8]) {
        guard let disk, !disk.checkpointRuns, closedReason == nil else { return }
        submit()
        var request = CheckpointRequest(
            position: unsafe hot.pointee.nextPosition - 1, place: disk.place,
            nextChannelID: UInt32(states.nextID),
            channels: [], tails: [], damage: counters.damage, snapshot: snapshot)
        for state in states {
            let hot = unsafe state.hot
            request.channels.append(
                CheckpointChannel(
                    id: state.id.rawValue, name: state.name, limits: state.limits,
                    firstSequence: state.firstSequence,
                    lastSequence: unsafe hot.pointee.nextSequence - 1,
                    lastTimestamp: unsafe hot.pointee.lastTimestamp,
                    messages: UInt64(state.messages)
                        + (unsafe hot.pointee.appendedMessages - state.durableAppendedMessages),
                    // A forged block may say fewer bytes than its messages have, of which some were trimmed.
                    bytes: UInt64(max(0, state.bytes))
                        + (unsafe hot.pointee.appendedBytes - state.durableAppendedBytes),
                    frontTrimmedBytes: UInt64(state.frontTrimmedBytes), damage: state.damage,
                    segments: SegmentStore.Channel(), tail: nil))
            if unsafe hot.pointee.count > 0 {
                request.tails.append(
                    CheckpointRequest.Tail(
                        channel: state.id.rawValue, storage: state.openStorage, summary: state.openSummary()))
            }
        }
        disk.checkpointRuns = true
        disk.checkpointBytes = disk.journalBytes
        disk.checkpointedAt = clock.now()
        disk.pending.append(.checkpoint(request))
        sendPending()
    }

    /// Whether the engine should make a checkpoint: a quarter of the journal was written since the last
    /// one, or ten minutes passed and something was.
    var wantsCheckpoint: Bool {
        guard let disk, !disk.checkpointRuns, closedReason == nil else { return false }
        let written = disk.journalBytes - disk.checkpointBytes
        if written == 0 { return false }
        let isDue =
            written >= UInt64(configuration.journalSizeBytes / 4)
            || clock.now() &- disk.checkpointedAt >= 600_000_000_000
        return isDue && clock.now() >= disk.checkpointNotBefore
    }

    /// Submits and syncs what was appended, makes a last checkpoint unless nothing was written since
    /// the one before, stops the log's threads and releases the directory. Blocks; call it once, at
    /// shutdown; nothing may be called after it.
    public func close(state: [UInt8]) {
        submit()
        guard let disk else { return }
        finishWork(disk)
        if closedReason == nil, durable.rawValue > disk.checkpointPosition {
            disk.checkpointRuns = false
            checkpoint(state: state)
            finishWork(disk)
        }
        disk.committer.stop()
        disk.background.stop()
        disk.readers.stop()
        for thread in disk.threads { thread.join() }
        disk.committer.finish()
        disk.background.finish()
        disk.readers.finish()
        disk.fileSystem.close(disk.directory.lock)
        self.disk = nil
    }

    /// Lets go of files and of the directory, and writes nothing. For `LogExecution.manual`; nothing may be
    /// called after it.
    func abandon() {
        guard let disk else { return }
        disk.committer.abandon()
        disk.background.finish()
        disk.readers.finish()
        disk.fileSystem.close(disk.directory.lock)
        self.disk = nil
    }

    /// Lets everything be done that can be.
    func finishWork(_ disk: Disk) {
        for _ in 0..<3 {
            if configuration.execution == .threads {
                disk.committer.waitUntilIdle()
                _ = poll()
                disk.background.waitUntilIdle()
                _ = poll()
            } else {
                while stepCommit() {}
                _ = poll()
                while stepBackground() {}
                _ = poll()
            }
        }
    }

    /// Commits one batch, as the committer's thread does; false when there was nothing to do. For
    /// `LogExecution.manual`.
    public func stepCommit() -> Bool {
        disk.map { $0.committer.step() || $0.committer.stepFrames() } ?? false
    }

    /// Does one job of the background thread; false when there was none. For `LogExecution.manual`.
    public func stepBackground() -> Bool { disk?.background.step() ?? false }

    /// Reads one block that `read` asked for; false when there was none. For `LogExecution.manual`.
    public func stepReader() -> Bool { disk?.readers.step() ?? false }
}
