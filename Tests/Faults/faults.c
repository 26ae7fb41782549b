// Preloaded into a broker: makes its calls of the disk fail, stall or come back short, as the words in the file
// $FAULT_FILE say at the moment of the call (nothing while it does not exist):
//
//     sync     fdatasync, fsync and syncfs fail with EIO
//     stuck    they do not return while the file says so
//     list     of a directory whose path ends in /journal readdir gives the first names and then fails with EIO
//     short    pread and pwrite move one byte up to half of what was asked, and are interrupted every seventh time
#define _GNU_SOURCE
#include <dirent.h>
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
static DIR *(*real_opendir)(const char *);
static struct dirent *(*real_readdir)(DIR *);
static DIR *journal;  // the one that is listed at present
static atomic_uint calls, names;

__attribute__((constructor)) static void find(void) {
    *(void **)&real_pread = dlsym(RTLD_NEXT, "pread");
    *(void **)&real_pwrite = dlsym(RTLD_NEXT, "pwrite");
    *(void **)&real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
    *(void **)&real_syncfs = dlsym(RTLD_NEXT, "syncfs");
    *(void **)&real_opendir = dlsym(RTLD_NEXT, "opendir");
    *(void **)&real_readdir = dlsym(RTLD_NEXT, "readdir");
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

DIR *opendir(const char *path) {
    DIR *directory = real_opendir(path);
    size_t length = strlen(path);
    journal = length > 8 && strcmp(path + length - 8, "/journal") == 0 ? directory : NULL;
    names = 0;
    return directory;
}

struct dirent *readdir(DIR *directory) {
    int code = errno;  // The end of a directory leaves it as it is.
    bool fails = directory == journal && says("list") && atomic_fetch_add(&names, 1) >= 3;
    errno = fails ? EIO : code;
    return fails ? NULL : real_readdir(directory);
}

struct dirent64 *readdir64(DIR *directory) { return (struct dirent64 *)readdir(directory); }

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
