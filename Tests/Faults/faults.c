// Preloaded into a broker: makes its calls of the disk fail, stall or come back short, as the words in the file
// $FAULT_FILE say at the moment of the call (nothing while it does not exist):
//
//     sync     fdatasync, fsync and syncfs fail with EIO
//     stuck    they do not return while the file says so
//     short    pread and pwrite move one byte up to half of what was asked, and are interrupted every seventh time
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static ssize_t (*real_pread)(int, void *, size_t, off_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fdatasync)(int), (*real_fsync)(int), (*real_syncfs)(int);
static atomic_uint calls;

__attribute__((constructor)) static void find(void) {
    *(void **)&real_pread = dlsym(RTLD_NEXT, "pread");
    *(void **)&real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
    *(void **)&real_syncfs = dlsym(RTLD_NEXT, "syncfs");
}

static bool says(const char *word) {
    char text[64] = "";
    const char *path = getenv("FAULT_FILE");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return false;
    ssize_t count = read(file, text, sizeof text - 1);
    close(file);
    return count > 0 && strstr(text, word) != NULL;
}

static bool sync_fails(void) {
    struct timespec pause = {0, 1000000};
    while (says("stuck")) nanosleep(&pause, NULL);
    if (!says("sync")) return false;
    errno = EIO;
    return true;
}

int fdatasync(int file) { return sync_fails() ? -1 : real_fdatasync(file); }
int fsync(int file) { return sync_fails() ? -1 : real_fsync(file); }
int syncfs(int file) { return sync_fails() ? -1 : real_syncfs(file); }

// How many of `count` bytes this call may move; 0 when it is interrupted.
static size_t shortened(size_t count) {
    if (count < 2 || !says("short")) return count;
    unsigned call = atomic_fetch_add(&calls, 1);
    if (call % 7 == 6) {
        errno = EINTR;
        return 0;
    }
    return 1 + call * 2654435761u % (count / 2);
}

ssize_t pread(int file, void *data, size_t count, off_t offset) {
    size_t most = shortened(count);
    return most == 0 && count > 0 ? -1 : real_pread(file, data, most, offset);
}

ssize_t pwrite(int file, const void *data, size_t count, off_t offset) {
    size_t most = shortened(count);
    // As the kernel: of what goes past the page cache whole sectors are written.
    if (most > 0 && most < count && (fcntl(file, F_GETFL) & O_DIRECT)) most = most < 512 ? 512 : most / 512 * 512;
    return most == 0 && count > 0 ? -1 : real_pwrite(file, data, most, offset);
}

ssize_t pread64(int file, void *data, size_t count, off_t offset) { return pread(file, data, count, offset); }
ssize_t pwrite64(int file, const void *data, size_t count, off_t offset) { return pwrite(file, data, count, offset); }
