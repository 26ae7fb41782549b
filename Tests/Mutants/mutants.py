"""The mutants: one small change each that breaks a rule without exception."""

from dataclasses import dataclass


@dataclass
class Mutant:
    name: str
    rule: str
    file: str
    old: str
    new: str


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
        }"""),
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
]
