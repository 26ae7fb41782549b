#define _GNU_SOURCE
#include "CBroker.h"

#include <pthread.h>
#include <sys/vfs.h>
#include <unistd.h>

int cbroker_syncfs(int descriptor) { return syncfs(descriptor); }

uint32_t cbroker_volume_magic(const char *path) {
    struct statfs status;
    return statfs(path, &status) == 0 ? (uint32_t)status.f_type : 0;
}

void cbroker_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }
