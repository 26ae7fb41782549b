// The load generator of the benchmarks: one thread, one process, hand-made frames, nothing allocated per message.
// main.c lists the modes. Results are one line of JSON.
#ifndef LOADGEN_H
#define LOADGEN_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BLOCK = 1 << 18,       // bytes per write and per read
    IN_FLIGHT = 16 << 20,  // bytes a subscriber may lag behind the publisher: half of what any server buffers
    GUID = 22,             // length of a guid, as the client libraries make it
    MAX_CONNECTIONS = 64
};

#define SUBJECT "bench.core"

// connection.c

// Ends the process with a sentence: a run that goes wrong is no result.
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
uint64_t now_ns(void);
void *memory(size_t size);
// Times in a histogram of 64 x 32 buckets (3 % wide), nanoseconds.
typedef struct {
    uint64_t buckets[64 * 32], count;
} Histogram;
// `lateness`: how much later than due messages were sent that the server did not keep from it, where they are due at times.
extern Histogram latencies, lateness;
void observe(Histogram *histogram, uint64_t ns);
double percentile_us(const Histogram *histogram, double fraction);
// What came before, `messages` of them, was warm-up: latencies and CPU time count from here.
void warmed_up(uint64_t messages);
// Prints the line of JSON; all_messages has the warm-up in it; generator_ns is this process's own CPU time per message.
void report(uint64_t messages, double seconds, bool has_latencies);

int dial(int port);
void send_all(int fd, const char *data, size_t length);
__attribute__((format(printf, 2, 3))) void say(int fd, const char *format, ...);
// Reads until one of the needles has come; returns what came, terminated. Blocking; for the handshake. Protobuf
// may carry zero bytes: they become blanks, so that the answer can be searched as text.
char *read_until_any(int fd, const char *needle, const char *second, const char *third);
char *read_until(int fd, const char *needle);
// A connection after CONNECT and PONG.
int join(int port);
// A PING and its PONG; skips whatever else comes (INFO lines).
void fence(int fd);
// One MSG frame, byte by byte up to its end; returns the payload's size. Blocking.
size_t read_message(int fd, char *payload, size_t capacity);
void nonblocking(int fd);
// Server PINGs inside a stream of other frames are answered by whoever parses; true when handled.
bool answer_ping(int fd, const char *line);
// A buffer that repeats `frame` for at least `size` bytes and one frame more.
char *repeated(const char *frame, size_t frame_length, size_t size);
void fill_payload(char *payload, int size);
// What is stored: letters as fill_payload writes them, the first half of them replaced by noise, which is another one for
// each message. So it compresses to about half, as events in JSON do. Noise of message `number` (from 0): size / 2 bytes out
// of 4 MiB, the same in every run, so that who reads it back can tell.
const char *noise(uint64_t number, int size);
// Decimal numbers of a fixed width.
void write_number(char *at, uint64_t number, int digits);
uint64_t read_number(const char *at, int digits);

// protobuf.c: just the fields that are written and read here
size_t varint(char *at, uint64_t value);
size_t bytes_field(char *at, int field, const char *data, size_t size);
size_t number_field(char *at, int field, uint64_t value);
// The connect request of client `name`; the connection must hold the client's inboxes. Returns a socket ready to publish.
void streaming_connect(int fd, const char *cluster, const char *name);

// publish.c, consume.c: durable work. A run ends when `bytes` of payload are stored, else after `seconds`.
typedef struct {
    int port, size, connections, channels;
    uint64_t window;  // publishes in flight per connection
    double warmup, seconds;  // what is published in the warm-up does not count
    double rate;  // messages a second, 0: as fast as it goes
    uint64_t bytes;
    bool json;
    const char *cluster, *storage;
} Work;
void publish_streaming(const Work *work);
void publish_jetstream(const Work *work);
void consume_streaming(const Work *work, uint64_t count);
void consume_pull(const Work *work, uint64_t count);
void consume_ordered(const Work *work, uint64_t count);

// The other modes, a file each
void core(int port, int size, int subscribers, double seconds);
void request(int port, int size, double seconds);
void sync_rate(const char *path, double seconds, double rate);
void null_server(int port, const char *mode, int size, int subscribers);

// publish.c, for the null server too: the PUB frame of one streaming publish; `guid` tells where the guid's digits are.
size_t streaming_frame(char *frame, const char *cluster, const char *client, const char *channel, const char *inbox,
                       const char *payload, int size, size_t *guid, size_t *channel_in_message);
// What an ack looks like up to the guid; returns its length, and the frame's whole length.
size_t streaming_ack(char *frame, const char *inbox, size_t *whole);

#endif
