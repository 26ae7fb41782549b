"""The mutants: one small change each that breaks a rule without exception."""

from dataclasses import dataclass


@dataclass
class Mutant:
    name: str
    rule: str
    file: str
    old: str
    new: str
    #: The suite of the simulation that must notice.
    suite: str = "RandomRunTests"


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
        "CallTests"),
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
        "        generation += 1\n",
        ""),
    Mutant(
        "free-before-the-checkpoint-is-synced",
        "a checkpoint is durable as a whole before anything it replaces is freed",
        "Sources/BrokerLog/Checkpoints/CheckpointWriter.swift",
        "        try fileSystem.syncAll(directory.path)\n",
        ""),
    Mutant(
        "store-without-its-name",
        "new files and directories are synced before anything in them is acknowledged",
        "Sources/BrokerLog/Files/StoreDirectory.swift",
        """        try syncDirectory(directory.isEmpty ? "/" : directory)
""",
        "        _ = directory\n",
        "CallTests"),
    Mutant(
        "cut-a-damaged-middle",
        "damage below what was known to be synced is corruption: named, never cut",
        "Sources/BrokerLog/Journal/JournalRecovery.swift",
        "        return (known > place.position ? resume : nil, known)\n",
        "        return (nil, 0)\n",
        "DamageTests"),
    Mutant(
        "no-mark-that-a-file-follows",
        "a journal file that vanishes as a whole is missed",
        "Sources/BrokerLog/Journal/JournalWriter.swift",
        "        try noteSuccessor()\n",
        "",
        "DamageTests"),
    Mutant(
        "believe-the-block",
        "bytes from disk are hostile: the checksum of a block is looked at",
        "Sources/BrokerLog/Segments/BlockCodec.swift",
        "            unsafe cbroker_crc32c(0, base + 8, Self.size - 8 + stored) == u32(4)\n",
        "            u32(4) == u32(4)\n",
        "DamageTests"),
    Mutant(
        "files-before-the-deletion-is-synced",
        "a deletion is journaled first",
        "Sources/BrokerLog/Log+Cache.swift",
        "            guard drop.needs <= disk.synced else { return false }\n",
        "",
        "CallTests"),
    Mutant(
        "opening-writes",
        "starting twice without a write between changes no byte",
        "Sources/BrokerLog/Log+Cache.swift",
        "        guard let disk, disk.hasWritten else { return }\n",
        "        guard let disk else { return }\n",
        "CallTests"),
    Mutant(
        "miss-a-segment",
        "a segment that is missing or short is named at opening",
        "Sources/BrokerLog/Log+Restore.swift",
        "            let isThere = block.offset <= UInt64(size) && UInt64(block.size) <= UInt64(size) - block.offset\n",
        "            let isThere = size >= 0\n",
        "DamageTests"),
]
