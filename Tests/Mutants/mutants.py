"""The mutants: one small change each that breaks a rule without exception."""

from dataclasses import dataclass


@dataclass
class Mutant:
    name: str
    rule: str
    file: str
    old: str
    new: str
    #: The suite that must notice.
    suite: str = "SimulationTests.RandomRunTests"


MUTANTS = [
    Mutant(
        "acknowledge-before-sync",
        "no acknowledgement before the sync that covers it returned",
        "Sources/BrokerLog/Journal/Committer.swift",
        """            if policy == .always {
                try writer.sync()
""",
        """            if policy == .always {
                writer.noteSynced(writer.place.position)
"""),
    Mutant(
        "retry-a-failed-sync",
        "a failed sync is never retried",
        "Sources/BrokerLog/Journal/JournalWriter.swift",
        "do throws(FileError) { try fileSystem.sync(current.file) } catch { throw .failed(\"\\(error)\") }",
        """do throws(FileError) { try fileSystem.sync(current.file) } catch {
            do throws(FileError) { try fileSystem.sync(current.file) } catch { throw .failed(\"\\(error)\") }
        }""",
        "SimulationTests.CallTests"),
    Mutant(
        "new-journal-file-without-its-name",
        "new files and directories are synced before anything in them is acknowledged",
        "Sources/BrokerLog/Journal/JournalFiles.swift",
        """            try fileSystem.sync(file)
            try fileSystem.syncDirectory(directory)
        } catch {
            fileSystem.close(file)
""",
        """            try fileSystem.sync(file)
        } catch {
            fileSystem.close(file)
"""),
    Mutant(
        "believe-the-frame",
        "bytes from disk are hostile: the checksum is looked at",
        "Sources/BrokerLog/Journal/JournalRecovery.swift",
        "            unsafe JournalFrame.checksum(bytes.base + offset, length: length) == frame.checksum\n",
        "            frame.checksum == frame.checksum\n"),
    Mutant(
        "recycle-without-a-new-generation",
        "the generation tells a recycled file's old frames from new ones",
        "Sources/BrokerLog/Journal/JournalWriter.swift",
        "        generation = JournalFileHeader.generation(after: generation, storeID: storeID)\n",
        ""),
    Mutant(
        "free-before-the-checkpoint-is-synced",
        "a checkpoint is durable as a whole before anything it replaces is freed",
        "Sources/BrokerLog/Checkpoints/CheckpointWriter.swift",
        "            try fileSystem.syncAll(directory.path, by: directory.lock)\n",
        ""),
    Mutant(
        "number-files-again-behind-lost-ones",
        "what is acknowledged behind a journal that lost files is found again",
        "Sources/BrokerLog/Journal/JournalFiles.swift",
        "(used + free).reduce(lastNumber) {",
        "(used + free).reduce(lastNumber &* 0) {",
        "BrokerLogTests.LostJournalTests"),
    Mutant(
        "pass-over-a-mark",
        "a journal file that vanishes is missed, behind one that was begun and never written to too",
        "Sources/BrokerLog/Journal/JournalRecovery.swift",
        "        var known = max(covered, marked)\n",
        "        var known = covered\n",
        "BrokerLogTests.LostJournalTests"),
    Mutant(
        "count-generations",
        "no message passes for a frame of the journal",
        "Sources/BrokerLog/Journal/JournalFile.swift",
        "        return last + 1 + generator.next() >> 32\n",
        "        _ = generator.next()\n        return last + 1\n",
        "BrokerLogTests.LostJournalTests"),
    Mutant(
        "begin-from-a-checkpoint-without-its-tails",
        "nothing is lost that an older checkpoint and the journal have",
        "Sources/BrokerLog/Checkpoints/CheckpointsFound.swift",
        "if newest == nil, try !Self.hasTails(file, fileSystem, directory) {",
        "if newest == nil, try Self.hasTails(file, fileSystem, directory), false {",
        "BrokerLogTests.CheckpointFallbackTests"),
    Mutant(
        "store-without-its-name",
        "new files and directories are synced before anything in them is acknowledged",
        "Sources/BrokerLog/Files/StoreDirectory.swift",
        """        try syncDirectory(directory.isEmpty ? "/" : directory)
""",
        "        _ = directory\n",
        "SimulationTests.CallTests"),
    Mutant(
        "cut-a-damaged-middle",
        "damage below what was known to be synced is corruption: named, never cut",
        "Sources/BrokerLog/Journal/JournalRecovery.swift",
        "        return (known > place.position ? resume : nil, known)\n",
        "        return (nil, 0)\n",
        "SimulationTests.DamageTests"),
    Mutant(
        "no-mark-that-a-file-follows",
        "a journal file that vanishes as a whole is missed",
        "Sources/BrokerLog/Journal/JournalWriter.swift",
        "        try noteSuccessor()\n",
        "",
        "SimulationTests.DamageTests"),
    Mutant(
        "believe-the-block",
        "bytes from disk are hostile: the checksum of a block is looked at",
        "Sources/BrokerLog/Segments/BlockCodec.swift",
        "            unsafe cbroker_crc32c(0, base + 8, Self.size - 8 + stored) == u32(4)\n",
        "            u32(4) == u32(4)\n",
        "SimulationTests.DamageTests"),
    Mutant(
        "files-before-the-deletion-is-synced",
        "a deletion is journaled first",
        "Sources/BrokerLog/Log+Cache.swift",
        "            guard drop.needs <= disk.synced else { return false }\n",
        "",
        "SimulationTests.CallTests"),
    Mutant(
        "opening-writes",
        "starting twice without a write between changes no byte",
        "Sources/BrokerLog/Log+Cache.swift",
        "        guard let disk, disk.hasWritten else { return }\n",
        "        guard let disk else { return }\n",
        "SimulationTests.CallTests"),
    Mutant(
        "miss-a-segment",
        "a segment that is missing or short is named at opening",
        "Sources/BrokerLog/Log+Restore.swift",
        "            let isThere = block.offset <= UInt64(size) && UInt64(block.size) <= UInt64(size) - block.offset\n",
        "            let isThere = size >= 0\n",
        "SimulationTests.DamageTests"),
    Mutant(
        "believe-the-page-cache",
        "the page cache is never believed: what a failed sync left there is not on the disk",
        "Sources/BrokerLog/Journal/JournalRecovery.swift",
        "            fileSystem.dropCache(file)\n",
        "",
        "BrokerLogTests.JournalTests"),
    Mutant(
        "recycle-above-one-checkpoint",
        "a journal file is recycled only when two checkpoints lie above it",
        "Sources/BrokerLog/Checkpoints/CheckpointWriter.swift",
        "        return valid.count == 2 ? valid[0].journalFile : nil\n",
        "        return valid.last?.journalFile\n",
        "BrokerLogTests.CheckpointTests"),
    Mutant(
        "share-the-directory",
        "the data directory is locked",
        "Sources/BrokerLog/Files/StoreDirectory.swift",
        "            if try fileSystem.lock(lock) { return lock }\n",
        "            if try fileSystem.lock(lock) || true { return lock }\n",
        "BrokerLogTests.StoreDirectoryTests"),
    Mutant(
        "read-a-newer-version",
        "an unknown newer version is refused untouched",
        "Sources/BrokerLog/Files/StoreDirectory.swift",
        "        guard found <= version else {\n",
        "        guard found <= .max else {\n",
        "BrokerLogTests.StoreDirectoryTests"),
    Mutant(
        "allocate-what-a-block-asks-for",
        "bytes from disk are hostile: length before allocation",
        "Sources/BrokerLog/Segments/BlockCodec.swift",
        "        guard summary.isPlausible, raw <= stored * Self.maximumRatio,\n",
        "        guard summary.isPlausible,\n",
        "BrokerLogTests.HostileFileTests"),
    Mutant(
        "drop-a-rewritten-segment-early",
        "a segment that was rewritten stays until no checkpoint that recovery may begin from lists it",
        "Sources/BrokerLog/Segments/SegmentStore+Compaction.swift",
        "        let unneeded = retired.filter { $0.checkpoints >= 2 }\n",
        "        let unneeded = retired.filter { $0.checkpoints >= 1 }\n",
        "BrokerLogTests.CompactionTests"),
    Mutant(
        "keep-the-space-kept-back",
        "a full disk has space kept back for what gives space",
        "Sources/BrokerLog/Threads/Background.swift",
        "leadsToSpace(), space.release()",
        "leadsToSpace(), false",
        "BrokerLogTests.DamageTests"),
    Mutant(
        "use-up-the-space-kept-back",
        "messages are refused until what waits for a full disk has gone",
        "Sources/BrokerLog/Log+Cache.swift",
        "(full != nil || hot.pointee.isFull) &&",
        "(full != nil) &&",
        "BrokerLogTests.DamageTests"),
    Mutant(
        "recycle-damaged-files",
        "nothing that is damaged is deleted",
        "Sources/BrokerLog/Journal/JournalFiles.swift",
        "            if damaged.contains(old.number) { return .setAside(free.removeFirst()) }\n",
        "            if damaged.contains(old.number) { return .remove(free.removeFirst()) }\n",
        "BrokerLogTests.DamageTests"),
    Mutant(
        "recycle-damaged-files-with-others",
        "nothing that is damaged is deleted",
        "Sources/BrokerLog/Journal/JournalFiles.swift",
        "                .prefix { !damaged.contains($0.number) && $0.size >= nextSize }.count\n",
        "                .prefix { $0.size >= nextSize }.count\n",
        "BrokerLogTests.DamageTests"),
    Mutant(
        "repair-without-a-copy",
        "a repair keeps the damaged bytes aside",
        "Sources/BrokerLog/Repair/LogRepair.swift",
        "            outcome.setAside = try repair.setAside(outcome.plan.files)\n",
        "",
        "BrokerLogTests.RepairTests"),
    Mutant(
        "start-without-its-checkpoints",
        "a store whose checkpoints are gone is not taken for one that never had any",
        "Sources/BrokerLog/Log+Open.swift",
        "            let isFreed = journal.positionBefore > 0\n",
        "            let isFreed = false\n",
        "BrokerLogTests.CheckpointTests"),
    Mutant(
        "checkpoint-what-vanished",
        "a checkpoint covers nothing that is only in the journal",
        "Sources/BrokerLog/Threads/Background.swift",
        "            try segments.findWritten()\n",
        "",
        "BrokerLogTests.DamageTests"),
    Mutant(
        "count-a-frame-before-the-one-in-front-of-it",
        "frames that are written together count in the journal's order",
        "Sources/BrokerLog/Journal/FramesUnderWay.swift",
        "        guard let frame = frames.first, let outcome = frame.outcome else { return nil }\n",
        """        guard let frame = frames.first,
            let outcome = frame.outcome ?? frames.compactMap(\\.outcome).first
        else { return nil }
""",
        "BrokerLogTests.FramesUnderWayTests"),
    Mutant(
        "never-ask-again-for-a-front-block",
        "a limit whose block could not be opened is tried again after a second",
        "Sources/BrokerLog/Log+Retention.swift",
        "            } else if state.waitingCutoff != nil {\n                applyLimits(to: state)\n            }\n",
        "            }\n",
        "SimulationTests.RandomRunTests"),
    Mutant(
        "begin-a-frame-for-each-message",
        "beside frames under way one more is begun for as many messages as make it worth its requests",
        "Sources/BrokerLog/Journal/FramesUnderWay.swift",
        "        return isEmpty || crowd <= Self.depth || waiting >= 2 * frames.count\n",
        "        return true\n",
        "BrokerLogTests.FramesUnderWayTests"),
    Mutant(
        "write-beside-frames-under-way",
        "the thread writes behind what the loop has under way, not beside it",
        "Sources/BrokerLog/Journal/Committer.swift",
        "                if underWay.isEmpty {\n                    isThreads = true\n",
        "                if true {\n                    isThreads = true\n"),
    Mutant(
        "know-as-synced-what-is-under-way",
        "a frame says of those before it what was synced when it was written",
        "Sources/BrokerLog/Journal/JournalWriter.swift",
        "        if refusal == nil { advance(behind: chunk, sum, bytes: stride) }\n",
        """        if refusal == nil {
            advance(behind: chunk, sum, bytes: stride)
            synced = place.position
        }
"""),
    Mutant(
        "leave-a-hole-for-a-refused-frame",
        "what could not be written is written again where it was",
        "Sources/BrokerLog/Journal/Committer.swift",
        "                writer.takeBack(to: frame.before)\n",
        "",
        "SimulationTests.CallTests"),
    Mutant(
        "believe-what-lies-behind-a-mark",
        "what a crash left behind a hole is never served",
        "Sources/BrokerLog/Journal/JournalRecovery.swift",
        "                    if mark != nil, files[index].header != nil { break }\n",
        "",
        "BrokerLogTests.FramesUnderWayTests"),
    Mutant(
        "forget-a-refused-frame",
        "what could not be written waits for the thread",
        "Sources/BrokerLog/Journal/Committer.swift",
        "                monitor.locked { queue.insert(contentsOf: chunks, at: 0) }\n",
        "                _ = chunks\n",
        "BrokerLogTests.FramesUnderWayTests"),
    Mutant(
        "forget-what-was-put-together",
        "what the disk had no room for is given back, all of it",
        "Sources/BrokerLog/Journal/Committer.swift",
        "            queue.insert(contentsOf: chunks, at: 0)\n            switch failure {\n",
        "            if let chunk = chunks.first { queue.insert(chunk, at: 0) }\n            switch failure {\n",
        "BrokerLogTests.JournalChunkTests"),
    Mutant(
        "forget-what-joined",
        "what joins records that wait is known to be durable with them",
        "Sources/BrokerLog/Journal/JournalChunk.swift",
        "            touches.append(touch)\n",
        "            if touches.isEmpty { touches.append(touch) }\n",
        "BrokerLogTests.JournalChunkTests"),
    Mutant(
        "shorten-a-file-that-may-come-back",
        "a removed file is shortened when its name is gone for good, not before",
        "Sources/BrokerLog/Segments/RemovedFiles.swift",
        "            unsynced.insert(Self.directory(of: path))\n",
        "",
        "SimulationTests.CallTests"),
    Mutant(
        "keep-the-space-of-a-full-disk",
        "a full disk gets the space of removed files at once",
        "Sources/BrokerLog/Threads/Background.swift",
        "        if let lack = failure, lack.mayPass, segments.removed.releaseAll() {\n",
        "        if let lack = failure, lack.mayPass, segments.removed.isEmpty {\n",
        "BrokerLogTests.RemovedFilesTests"),
    Mutant(
        "leave-what-a-full-disk-refused",
        "a message that was refused does not come up after a crash",
        "Sources/BrokerLog/Journal/JournalWriter.swift",
        "            if case .noSpace = error, mayLieAtPlace { try eraseNextFrame() }\n",
        "",
        "BrokerLogTests.FramesUnderWayTests"),
    Mutant(
        "leave-what-a-full-disk-cut-short",
        "a message that was refused does not come up after a crash, however little of it was missing",
        "Sources/BrokerLog/Journal/JournalWriter.swift",
        "            mayLieAtPlace = true\n            // Others",
        "            // Others",
        "BrokerLogTests.JournalTests"),
    Mutant(
        "keep-it-from-the-journal",
        "what a full disk lacks for the journal's next file is had of removed files at once",
        "Sources/BrokerLog/Threads/Background.swift",
        "                guard error.mayPass, segments.removed.releaseAll() else { throw error }\n",
        "                guard error.mayPass, segments.removed.isEmpty else { throw error }\n",
        "BrokerLogTests.RemovedFilesTests"),
    Mutant(
        "shorten-a-file-with-another-name",
        "a copy by hard links keeps what is in it",
        "Sources/BrokerLog/Segments/RemovedFiles.swift",
        "        if size > pieceBytes, (try? fileSystem.isUnlinked(file)) == true {\n",
        "        if size > pieceBytes {\n",
        "BrokerLogTests.RemovedFilesTests"),
]
