// Preloaded into a broker: makes its calls of the disk fail, stall or come back short, as the words in the file
// $FAULT_FILE say at the moment of the call (nothing while it does not exist):
//
//     sync     fdatasync, fsync and syncfs fail with EIO, and so do asynchronous writes
//     stuck    they do not return while the file says so, and asynchronous writes do not begin
//     threads  the kernel has no asynchronous writes
//     list     of a directory whose path ends in /journal readdir gives the first names and then fails with EIO
//     short    pread, pwrite and asynchronous writes move one byte up to half of what was asked, and are interrupted every
//              seventh time
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static ssize_t (*real_pread)(int, void *, size_t, off_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_fdatasync)(int), (*real_fsync)(int), (*real_syncfs)(int);
static long (*real_syscall)(long, ...);
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

static void wait_while_stuck(void) {
    struct timespec pause = {0, 1000000};
    while (says("stuck")) nanosleep(&pause, NULL);
}

static bool sync_fails(void) {
    wait_while_stuck();
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

// An asynchronous write that a disk that hangs has not begun.
struct begun {
    aio_context_t context;
    struct iocb write;
};

static void *begin_later(void *argument) {
    struct begun *begun = argument;
    wait_while_stuck();
    struct iocb *list[] = {&begun->write};
    while (real_syscall(SYS_io_submit, begun->context, 1L, list) != 1) wait_while_stuck();
    free(begun);
    return NULL;
}

static long begin(aio_context_t context, struct iocb **list) {
    struct begun *begun = malloc(sizeof *begun);
    begun->context = context;
    begun->write = **list;
    pthread_t thread;
    if (says("stuck") && pthread_create(&thread, NULL, begin_later, begun) == 0) {
        pthread_detach(thread);
        return 1;
    }
    struct iocb write = begun->write;
    free(begun);
    size_t most = shortened(write.aio_nbytes);
    if (most == 0) {
        errno = EAGAIN;
        return -1;
    }
    // As the kernel: whole sectors.
    if (most < write.aio_nbytes) write.aio_nbytes = most < 512 ? 512 : most / 512 * 512;
    struct iocb *changed[] = {&write};
    return real_syscall(SYS_io_submit, context, 1L, changed);
}

// What glibc has no function for. The broker begins one write at a time, and asks for one that has ended.
long syscall(long number, ...) {
    va_list list;
    long given[6];
    va_start(list, number);
    for (int index = 0; index < 6; index++) given[index] = va_arg(list, long);
    va_end(list);
    // Other libraries call it before this one is ready.
    if (real_syscall == NULL) *(void **)&real_syscall = dlsym(RTLD_NEXT, "syscall");
    if (number == SYS_io_setup && says("threads")) {
        errno = ENOSYS;
        return -1;
    }
    if (number == SYS_io_submit) return begin((aio_context_t)given[0], (struct iocb **)given[2]);
    long result = real_syscall(number, given[0], given[1], given[2], given[3], given[4], given[5]);
    if (number == SYS_io_getevents && result == 1 && says("sync")) ((struct io_event *)given[3])->res = -EIO;
    return result;
}
