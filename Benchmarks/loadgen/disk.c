#define _GNU_SOURCE
#include "loadgen.h"

// sync: what the disk can do

void sync_rate(const char *path, double seconds) {
    enum { PAGE = 4096, FILE_SIZE = 64 << 20 };
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0) die("%s: %s", path, strerror(errno));
    char *block = memory(1 << 20);
    memset(block, 'x', 1 << 20);
    for (int i = 0; i < FILE_SIZE >> 20; i++)
        if (pwrite(fd, block, 1 << 20, (off_t)i << 20) != 1 << 20) die("write: %s", strerror(errno));
    if (fsync(fd) != 0) die("fsync: %s", strerror(errno));
    uint64_t start = now_ns(), deadline = start + (uint64_t)(seconds * 1e9), before = start;
    off_t at = 0;
    while (before < deadline) {
        if (pwrite(fd, block, PAGE, at) != PAGE || fdatasync(fd) != 0) die("sync: %s", strerror(errno));
        at = (at + PAGE) % FILE_SIZE;
        uint64_t after = now_ns();
        observe(after - before);
        before = after;
    }
    double elapsed = (double)(before - start) / 1e9;
    close(fd);
    unlink(path);
    report(observations, elapsed, true);
}
