/* The few C shims of the broker: what Swift cannot say as fast. */
#ifndef CBROKER_H
#define CBROKER_H

#include <stddef.h>
#include <stdint.h>

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4) of `length` bytes, continuing from `crc`
 * (0 at the start). By carry-less multiplication or the processor's own instruction where it has them, else bit by bit. */
uint32_t cbroker_crc32c(uint32_t crc, const void *bytes, size_t length);

/* O_DIRECT of open(2), which Glibc's Swift module does not show. */
extern const int cbroker_o_direct;

/* syncfs(2), which Glibc's Swift module does not show: 0, or -1 with errno. */
int cbroker_syncfs(int descriptor);

/* sync_file_range(2), which is no promise that anything survives: begins to write the dirty pages of `length` bytes at
 * `offset`. 0, or -1 with errno. */
int cbroker_begin_write_back(int descriptor, int64_t offset, int64_t length);

/* sync_file_range(2): waits until the disk has what was begun of `length` bytes at `offset`. 0, or -1 with errno. */
int cbroker_await_write_back(int descriptor, int64_t offset, int64_t length);

/* The magic number of the file system that `path` lies on (statfs(2)), 0 if it cannot be told. */
uint32_t cbroker_volume_magic(const char *path);

/* Names the calling thread, as debuggers and `top -H` show it; 15 bytes at most. */
void cbroker_name_thread(const char *name);

/* Writes that are durable when they have ended, by Linux' asynchronous I/O (io_setup(2)): at most `depth` at once. `events` is
 * an eventfd(2). 0 or an errno, also where the kernel would not look at the flags that make them durable. */
int cbroker_writes_open(unsigned depth, int events, uint64_t *context);

/* Begins to write `length` bytes at `offset`; they belong to the kernel until the write with this number has ended, which
 * `events`, an eventfd(2), counts. It does not wait for the disk to take them (RWF_NOWAIT), though ext4
 * may wait for its own journal, and for the end of a freeze; it is durable at its end (RWF_DSYNC). 0 or an errno: nothing was
 * begun. */
int cbroker_writes_begin(
    uint64_t context, int events, uint64_t number, int descriptor, const void *bytes, size_t length, int64_t offset);

/* A write that has ended: its number, and the bytes written or a negative errno. 1, or 0 if none has, or a negative errno.
 * With `waits` it is waited for. */
int cbroker_writes_end(uint64_t context, int waits, uint64_t *number, int64_t *result);

/* Waits for the writes under way, and gives the context back. */
void cbroker_writes_close(uint64_t context);

/* A new eventfd(2) that does not block, -1 with errno. */
int cbroker_eventfd(void);

#endif
