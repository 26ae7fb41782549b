#define _GNU_SOURCE
#include "CBroker.h"

#include <fcntl.h>
#include <pthread.h>
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
