import Testing

@testable import Broker

@Suite("How much memory stored messages may take")
struct MemoryLimitTests {
    private func standard(_ files: [String: String]) -> Int { MemoryLimit.standard { files[$0] } }

    @Test("a quarter of what the control group has, within reason")
    func unified() {
        let group = "0::/kubepods/pod1/container\n"
        #expect(standard([:]) == 128 << 20)
        #expect(standard(["/proc/self/cgroup": group, "/sys/fs/cgroup/memory.max": "max\n"]) == 128 << 20)
        #expect(
            standard([
                "/proc/self/cgroup": group,
                "/sys/fs/cgroup/kubepods/pod1/container/memory.max": "max\n",
                "/sys/fs/cgroup/kubepods/pod1/memory.max": "268435456\n",
                "/sys/fs/cgroup/kubepods/memory.max": "4294967296\n",
            ]) == 64 << 20)
        // In a container the group is the root of what it sees.
        #expect(
            standard(["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "536870912"]) == 128 << 20)
        #expect(
            standard(["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "1048576"]) == 16 << 20)
        #expect(
            standard(["/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/memory.max": "99999999999"]) == 1 << 30)
    }

    @Test("version 1, where no limit is a very large number")
    func hierarchies() {
        let group = "12:cpu,cpuacct:/a\n5:memory:/docker/1\n0::/x\n"
        let path = "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes"
        #expect(standard(["/proc/self/cgroup": group, path: "9223372036854771712\n"]) == 128 << 20)
        #expect(standard(["/proc/self/cgroup": group, path: "134217728\n"]) == 32 << 20)
    }

    @Test("nonsense is no limit", arguments: ["", "0::", ":::", "0::/a\n", "x", "5:memory\n"])
    func nonsense(group: String) {
        #expect(standard(["/proc/self/cgroup": group, "/sys/fs/cgroup/a/memory.max": "-5"]) == 128 << 20)
        #expect(standard(["/proc/self/cgroup": group, "/sys/fs/cgroup/a/memory.max": "0"]) == 128 << 20)
    }
}
