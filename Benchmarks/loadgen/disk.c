#define _GNU_SOURCE
#include "loadgen.h"

// sync: what the disk can do

// With a rate: so many messages of 128 B come due a second, what is due goes to the disk at once, in pages, and a message's
// latency counts from when it was due: what the disk alone leaves to a server that takes no time.
void sync_rate(const char *path, double seconds, double rate) {
    enum { PAGE = 4096, FILE_SIZE = 64 << 20, MESSAGE = 128 };
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) die("%s: %s", path, strerror(errno));
    char *block = memory(1 << 20);
    memset(block, 'x', 1 << 20);
    for (int i = 0; i < FILE_SIZE >> 20; i++)
        if (pwrite(fd, block, 1 << 20, (off_t)i << 20) != 1 << 20) die("write: %s", strerror(errno));
    if (fsync(fd) != 0) die("fsync: %s", strerror(errno));
    uint64_t start = now_ns(), deadline = start + (uint64_t)(seconds * 1e9), before = start;
    off_t at = 0;
    uint64_t done = 0;
    while (rate > 0 && before < deadline) {
        uint64_t due = (uint64_t)((double)(before - start) / 1e9 * rate), first = done;
        if (due - done > (1 << 20) / MESSAGE) due = done + (1 << 20) / MESSAGE;
        if (due > done) {
            size_t size = (due - done) * MESSAGE;
            size = (size + PAGE - 1) / PAGE * PAGE;
            if (at + (off_t)size > FILE_SIZE) at = 0;
            if (pwrite(fd, block, size, at) != (ssize_t)size || fdatasync(fd) != 0) die("sync: %s", strerror(errno));
            at += (off_t)size;
        }
        before = now_ns();
        for (done = due; first < done; first++) observe(&latencies, before - start - (uint64_t)((double)first / rate * 1e9));
    }
    while (before < deadline) {
        if (pwrite(fd, block, PAGE, at) != PAGE || fdatasync(fd) != 0) die("sync: %s", strerror(errno));
        at = (at + PAGE) % FILE_SIZE;
        uint64_t after = now_ns();
        observe(&latencies, after - before);
        before = after;
    }
    double elapsed = (double)(before - start) / 1e9;
    close(fd);
    unlink(path);
    report(latencies.count, elapsed, true);
}
