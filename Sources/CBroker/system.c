#define _GNU_SOURCE
#include "CBroker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

const int cbroker_o_direct = O_DIRECT;

int cbroker_syncfs(int descriptor) { return syncfs(descriptor); }

int cbroker_begin_write_back(int descriptor, int64_t offset, int64_t length) {
    return sync_file_range(descriptor, offset, length, SYNC_FILE_RANGE_WRITE);
}

int cbroker_await_write_back(int descriptor, int64_t offset, int64_t length) {
    return sync_file_range(descriptor, offset, length, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WAIT_AFTER);
}

uint32_t cbroker_volume_magic(const char *path) {
    struct statfs status;
    return statfs(path, &status) == 0 ? (uint32_t)status.f_type : 0;
}

void cbroker_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

int cbroker_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

int cbroker_writes_open(unsigned depth, int events, uint64_t *context) {
    aio_context_t made = 0;
    if (syscall(SYS_io_setup, depth, &made) != 0) return errno;
    /* A flag that there is not: a kernel that takes it (gVisor) would take RWF_DSYNC as well, and sync nothing. Nothing is written. */
    struct iocb probe;
    memset(&probe, 0, sizeof probe);
    probe.aio_fildes = (uint32_t)events;
    probe.aio_lio_opcode = IOCB_CMD_PWRITE;
    probe.aio_buf = (uint64_t)(uintptr_t)&probe;
    probe.aio_rw_flags = 1 << 30;
    struct iocb *list[] = {&probe};
    if (syscall(SYS_io_submit, made, 1L, list) >= 0) {
        syscall(SYS_io_destroy, made);
        return EOPNOTSUPP;
    }
    *context = made;
    return 0;
}

int cbroker_writes_begin(
    uint64_t context, int events, uint64_t number, int descriptor, const void *bytes, size_t length, int64_t offset) {
    struct iocb write;
    memset(&write, 0, sizeof write);
    write.aio_data = number;
    write.aio_fildes = (uint32_t)descriptor;
    write.aio_lio_opcode = IOCB_CMD_PWRITE;
    write.aio_buf = (uint64_t)(uintptr_t)bytes;
    write.aio_nbytes = length;
    write.aio_offset = offset;
    write.aio_rw_flags = RWF_DSYNC | RWF_NOWAIT;
    write.aio_flags = IOCB_FLAG_RESFD;
    write.aio_resfd = (uint32_t)events;
    struct iocb *list[] = {&write};
    long begun = syscall(SYS_io_submit, (aio_context_t)context, 1L, list);
    if (begun == 1) return 0;
    return begun < 0 ? errno : EAGAIN;
}

int cbroker_writes_end(uint64_t context, int waits, uint64_t *number, int64_t *result) {
    /* The kernel shows its ring of what has ended at the context's address, and how it looks by a number there (as libaio reads
     * it): that there is nothing is seen without a call. */
    const struct {
        unsigned id, slots, head, tail, magic;
    } *ring = (const void *)(uintptr_t)context;
    if (!waits && ring->magic == 0xa10a10a1u &&
        __atomic_load_n(&ring->head, __ATOMIC_ACQUIRE) == __atomic_load_n(&ring->tail, __ATOMIC_ACQUIRE)) {
        return 0;
    }
    struct io_event event;
    long ended;
    do {
        ended = syscall(SYS_io_getevents, (aio_context_t)context, waits ? 1L : 0L, 1L, &event, NULL);
    } while (ended < 0 && errno == EINTR && waits);
    if (ended < 0) return errno == EINTR ? 0 : -errno;
    if (ended == 0) return 0;
    *number = event.data;
    *result = event.res;
    return 1;
}

void cbroker_writes_close(uint64_t context) { syscall(SYS_io_destroy, (aio_context_t)context); }
