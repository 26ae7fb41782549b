// The load generator of the benchmarks: one thread, one process, hand-made frames, nothing allocated per message.
//
//   loadgen core PORT SIZE SUBSCRIBERS SECONDS       core publish; every byte that subscribers get is compared
//   loadgen request PORT SIZE SECONDS                request and reply, one at a time, both ends in this thread
//   loadgen streaming PORT CLUSTER SIZE WINDOW SECONDS [BYTES]   NATS Streaming publishes, acks checked in order
//   loadgen jetstream PORT SIZE WINDOW SECONDS STORAGE [BYTES]   the same window against a JetStream stream
//   loadgen sync FILE SECONDS                        4 KiB pwrite + fdatasync on a file that was written before
//   loadgen null PORT core SIZE SUBSCRIBERS          a server that does no work: what the generator itself can do
//   loadgen null PORT streaming SIZE                 (answers one session, then ends)
//
// With BYTES (payload bytes) a publish run ends when that much is stored, else after SECONDS. Results are one line
// of JSON. Build: cc -O2 -o loadgen loadgen.c
#define _GNU_SOURCE
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
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BLOCK = 1 << 18,            // bytes per write and per read
    IN_FLIGHT = 16 << 20,       // bytes a subscriber may lag behind the publisher: half of what any server buffers
    GUID = 22                   // length of a guid, as the client libraries make it
};

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("loadgen: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void *memory(size_t size) {
    void *result = malloc(size);
    if (result == NULL) die("out of memory");
    return result;
}

// Latencies in a histogram of 64 x 32 buckets (3 % wide), nanoseconds.
static uint64_t histogram[64 * 32], observations;
static void observe(uint64_t ns) {
    int exponent = ns < 32 ? 0 : 63 - __builtin_clzll(ns) - 4;
    uint64_t mantissa = ns >> exponent;  // 0…31 below 32 ns, else 16…31
    histogram[(size_t)exponent * 32 + mantissa]++;
    observations++;
}
static double percentile_us(double fraction) {
    uint64_t rank = (uint64_t)(fraction * (double)observations), seen = 0;
    for (size_t i = 0; i < sizeof histogram / sizeof *histogram; i++) {
        seen += histogram[i];
        if (seen > rank) return (double)((i % 32) << (i / 32)) / 1000;
    }
    return 0;
}

// Connections

static int dial(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0) die("connect to %d: %s", port, strerror(errno));
    int on = 1, size = 4 << 20;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    return fd;
}

static void send_all(int fd, const char *data, size_t length) {
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) die("send: %s", strerror(errno));
        data += sent;
        length -= (size_t)sent;
    }
}

__attribute__((format(printf, 2, 3))) static void say(int fd, const char *format, ...) {
    char line[1024];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    send_all(fd, line, (size_t)length);
}

static bool contains(const char *buffer, size_t length, const char *needle) {
    return needle != NULL && memmem(buffer, length, needle, strlen(needle)) != NULL;
}

// Reads until one of the needles has come; returns what came, terminated. Blocking; for the handshake. Protobuf
// may carry zero bytes: they become blanks, so that the answer can be searched as text.
static char *read_until_any(int fd, const char *needle, const char *second, const char *third) {
    static char buffer[1 << 16];
    size_t length = 0;
    buffer[0] = 0;
    while (!contains(buffer, length, needle) && !contains(buffer, length, second) && !contains(buffer, length, third)) {
        ssize_t got = recv(fd, buffer + length, sizeof buffer - 1 - length, 0);
        if (got <= 0) die("the server closed the connection while waiting for %s; it had said: %s", needle, buffer);
        for (ssize_t i = 0; i < got; i++)
            if (buffer[length + (size_t)i] == 0) buffer[length + (size_t)i] = ' ';
        length += (size_t)got;
        buffer[length] = 0;
        if (strstr(buffer, "-ERR")) die("the server said: %s", strstr(buffer, "-ERR"));
    }
    return buffer;
}

static char *read_until(int fd, const char *needle) { return read_until_any(fd, needle, NULL, NULL); }

static int join(int port) {
    int fd = dial(port);
    read_until(fd, "\r\n");
    say(fd, "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1,"
            "\"lang\":\"c\",\"version\":\"1\",\"name\":\"loadgen\",\"echo\":true}\r\nPING\r\n");
    read_until(fd, "PONG\r\n");
    return fd;
}

// A fence that skips whatever else comes (INFO lines).
static void fence(int fd) {
    say(fd, "PING\r\n");
    read_until(fd, "PONG\r\n");
}

static void nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

// Server PINGs inside a stream of other frames are answered by whoever parses; returns true when handled.
static bool answer_ping(int fd, const char *line) {
    if (memcmp(line, "PING\r\n", 6) != 0) return false;
    send_all(fd, "PONG\r\n", 6);
    return true;
}

// A buffer that repeats `frame` for at least `size` bytes and one frame more.
static char *repeated(const char *frame, size_t frame_length, size_t size) {
    size_t count = size / frame_length + 2;
    char *buffer = memory(count * frame_length);
    for (size_t i = 0; i < count; i++) memcpy(buffer + i * frame_length, frame, frame_length);
    return buffer;
}

static void fill_payload(char *payload, int size) {
    for (int i = 0; i < size; i++) payload[i] = (char)('a' + i % 26);
}

// core

static const char *const SUBJECT = "bench.core";

typedef struct {
    int fd;
    uint64_t received;  // bytes
} Subscriber;

static void core(int port, int size, int subscribers, double seconds) {
    char *payload = memory((size_t)size + 1);
    fill_payload(payload, size);
    char *frame = memory((size_t)size + 128), *delivery = memory((size_t)size + 128);
    size_t frame_length = (size_t)sprintf(frame, "PUB %s %d\r\n", SUBJECT, size);
    memcpy(frame + frame_length, payload, (size_t)size);
    memcpy(frame + frame_length + size, "\r\n", 2);
    frame_length += (size_t)size + 2;
    size_t delivery_length = (size_t)sprintf(delivery, "MSG %s 1 %d\r\n", SUBJECT, size);
    memcpy(delivery + delivery_length, payload, (size_t)size);
    memcpy(delivery + delivery_length + size, "\r\n", 2);
    delivery_length += (size_t)size + 2;

    char *out = repeated(frame, frame_length, BLOCK), *expected = repeated(delivery, delivery_length, BLOCK);
    char *in = memory(BLOCK);
    struct pollfd polls[65];
    Subscriber subs[64];
    if (subscribers > 64) die("at most 64 subscribers");
    for (int i = 0; i < subscribers; i++) {
        subs[i] = (Subscriber){.fd = join(port)};
        say(subs[i].fd, "SUB %s 1\r\n", SUBJECT);
        fence(subs[i].fd);
        nonblocking(subs[i].fd);
        polls[i + 1] = (struct pollfd){.fd = subs[i].fd, .events = POLLIN};
    }
    int publisher = join(port);
    nonblocking(publisher);

    uint64_t sent = 0, start = now_ns(), deadline = start + (uint64_t)(seconds * 1e9), end = 0;
    bool publishing = true;
    char tail[64];
    size_t tail_length = 0;
    for (;;) {
        uint64_t slowest = UINT64_MAX, messages = sent / frame_length;
        for (int i = 0; i < subscribers; i++)
            if (subs[i].received / delivery_length < slowest) slowest = subs[i].received / delivery_length;
        if (subscribers == 0) slowest = messages;
        if (publishing && now_ns() >= deadline) {
            // Finish the frame under way, then a PING behind it.
            publishing = false;
            size_t rest = sent % frame_length ? frame_length - sent % frame_length : 0;
            fcntl(publisher, F_SETFL, fcntl(publisher, F_GETFL) & ~O_NONBLOCK);
            if (rest) send_all(publisher, out + sent % frame_length, rest);
            sent += rest;
            messages = sent / frame_length;
            send_all(publisher, "PING\r\n", 6);
        }
        bool may_write = publishing && (messages - slowest) * delivery_length < IN_FLIGHT;
        polls[0] = (struct pollfd){.fd = publisher, .events = (short)(POLLIN | (may_write ? POLLOUT : 0))};
        if (poll(polls, (nfds_t)subscribers + 1, 1000) == 0 && !publishing && now_ns() > deadline + 20000000000u)
            die("%llu of %llu messages came in 20 s", (unsigned long long)slowest, (unsigned long long)messages);
        if (polls[0].revents & POLLOUT) {
            size_t offset = sent % frame_length;
            ssize_t wrote = send(publisher, out + offset, BLOCK, MSG_NOSIGNAL);
            if (wrote > 0) sent += (uint64_t)wrote;
            else if (wrote < 0 && errno != EAGAIN) die("send: %s", strerror(errno));
        }
        if (polls[0].revents & (POLLIN | POLLHUP)) {
            ssize_t got = recv(publisher, tail + tail_length, sizeof tail - 1 - tail_length, MSG_DONTWAIT);
            if (got == 0) die("the server closed the publisher's connection");
            if (got > 0) {
                tail_length += (size_t)got;
                tail[tail_length] = 0;
                if (strstr(tail, "-ERR")) die("the server said: %s", tail);
                if (strstr(tail, "PING\r\n") && publishing) {
                    // Only between frames may the answer be written: finish the frame under way first.
                    fcntl(publisher, F_SETFL, fcntl(publisher, F_GETFL) & ~O_NONBLOCK);
                    size_t rest = sent % frame_length ? frame_length - sent % frame_length : 0;
                    if (rest) send_all(publisher, out + sent % frame_length, rest);
                    sent += rest;
                    send_all(publisher, "PONG\r\n", 6);
                    nonblocking(publisher);
                    tail_length = 0;
                }
                if (!publishing && strstr(tail, "PONG\r\n")) {
                    if (subscribers == 0) {
                        end = now_ns();
                        break;
                    }
                    publishing = false;
                }
            }
        }
        for (int i = 0; i < subscribers; i++) {
            if (!(polls[i + 1].revents & (POLLIN | POLLHUP))) continue;
            ssize_t got = recv(subs[i].fd, in, BLOCK, 0);
            if (got == 0) die("the server closed subscriber %d", i);
            if (got < 0) continue;
            char *at = in;
            size_t left = (size_t)got;
            // A PING of the server stands between frames; everything else must be the expected stream.
            while (left > 0) {
                size_t offset = subs[i].received % delivery_length;
                if (memcmp(at, expected + offset, left) == 0) {
                    subs[i].received += left;
                    break;
                }
                size_t same = 0;
                while (same < left && at[same] == expected[offset + same]) same++;
                size_t boundary = same - (offset + same) % delivery_length;
                if (same < (offset + same) % delivery_length) boundary = 0;
                subs[i].received += boundary;
                at += boundary;
                left -= boundary;
                char ping[6];
                if (left > 0 && memcmp(at, "PING\r\n", left < 6 ? left : 6) == 0) {
                    size_t have = left < 6 ? left : 6;
                    memcpy(ping, at, have);
                    // A PING that was cut by the end of this read: its rest is on the way.
                    while (have < 6) {
                        ssize_t more = recv(subs[i].fd, ping + have, 6 - have, 0);
                        if (more > 0) have += (size_t)more;
                        else if (more == 0 || errno != EAGAIN) die("the server closed subscriber %d", i);
                    }
                    if (!answer_ping(subs[i].fd, ping)) die("subscriber %d got an odd PING", i);
                    size_t used = left < 6 ? left : 6;
                    at += used;
                    left -= used;
                    continue;
                }
                die("subscriber %d got other bytes than were sent, after %llu bytes: %.40s", i,
                    (unsigned long long)subs[i].received, at);
            }
        }
        if (!publishing && subscribers > 0) {
            bool all = true;
            for (int i = 0; i < subscribers; i++) all &= subs[i].received == sent / frame_length * delivery_length;
            if (all) {
                end = now_ns();
                break;
            }
        }
    }
    double elapsed = (double)(end - start) / 1e9;
    uint64_t messages = sent / frame_length;
    printf("{\"messages\": %llu, \"deliveries\": %llu, \"seconds\": %.6f, \"rate\": %.0f}\n", (unsigned long long)messages,
           (unsigned long long)messages * (unsigned long long)subscribers, elapsed, (double)messages / elapsed);
}

// request

// Reads one frame of known length. Nothing comes behind it but, now and then, before it a PING of the server.
static void read_exactly(int fd, char *buffer, size_t length) {
    size_t have = 0;
    while (have < length) {
        ssize_t got = recv(fd, buffer + have, length - have, 0);
        if (got <= 0) die("the server closed the connection");
        have += (size_t)got;
        if (have >= 6 && answer_ping(fd, buffer)) {
            have -= 6;
            memmove(buffer, buffer + 6, have);
        }
    }
}

static void request(int port, int size, double seconds) {
    char payload[4096], ask[8192], asked[8192], answer[8192], answered[8192], in[8192];
    if (size > 4000) die("requests of at most 4000 bytes");
    fill_payload(payload, size);
    int asker = join(port), service = join(port);
    say(service, "SUB bench.service 1\r\n");
    fence(service);
    say(asker, "SUB _INBOX.loadgen.* 1\r\n");
    fence(asker);
    size_t ask_length = (size_t)sprintf(ask, "PUB bench.service _INBOX.loadgen.1 %d\r\n%.*s\r\n", size, size, payload);
    size_t asked_length = (size_t)sprintf(asked, "MSG bench.service 1 _INBOX.loadgen.1 %d\r\n%.*s\r\n", size, size, payload);
    size_t answer_length = (size_t)sprintf(answer, "PUB _INBOX.loadgen.1 %d\r\n%.*s\r\n", size, size, payload);
    size_t answered_length = (size_t)sprintf(answered, "MSG _INBOX.loadgen.1 1 %d\r\n%.*s\r\n", size, size, payload);
    uint64_t start = now_ns(), deadline = start + (uint64_t)(seconds * 1e9), before = start;
    while (before < deadline) {
        send_all(asker, ask, ask_length);
        read_exactly(service, in, asked_length);
        if (memcmp(in, asked, asked_length) != 0) die("the service got: %.*s", (int)asked_length, in);
        send_all(service, answer, answer_length);
        read_exactly(asker, in, answered_length);
        if (memcmp(in, answered, answered_length) != 0) die("the asker got: %.*s", (int)answered_length, in);
        uint64_t after = now_ns();
        observe(after - before);
        before = after;
    }
    double elapsed = (double)(before - start) / 1e9;
    printf("{\"messages\": %llu, \"seconds\": %.6f, \"rate\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
           (unsigned long long)observations, elapsed, (double)observations / elapsed, percentile_us(0.5),
           percentile_us(0.99));
}

// Publishing in a window, shared by streaming and jetstream

typedef struct {
    const char *frame;      // one PUB frame; `digits` bytes at each of `places` are the message number
    size_t length;
    size_t places[2];
    int place_count, digits;
} Template;

static void write_number(char *at, uint64_t number, int digits) {
    for (int i = digits - 1; i >= 0; i--) {
        at[i] = (char)('0' + number % 10);
        number /= 10;
    }
}

static uint64_t read_number(const char *at, int digits) {
    uint64_t number = 0;
    for (int i = 0; i < digits; i++) {
        if (at[i] < '0' || at[i] > '9') die("no number in: %.*s", digits, at);
        number = number * 10 + (uint64_t)(at[i] - '0');
    }
    return number;
}

// Parses one ack frame at `at`; returns its length, 0 when it is not whole yet, and the message number.
typedef size_t (*AckParser)(const char *at, size_t left, uint64_t *number);

static int digits_of_acks;
static const char *ack_frame;  // what a streaming ack looks like up to the number
static size_t ack_prefix, ack_length;

static size_t parse_streaming_ack(const char *at, size_t left, uint64_t *number) {
    if (left < ack_length) return 0;  // an error ack is longer than a success, so it gets here too
    if (memcmp(at, ack_frame, ack_prefix) != 0) die("an unexpected frame, or a refused publish: %.*s", (int)(left > 200 ? 200 : left), at);
    *number = read_number(at + ack_prefix, digits_of_acks);
    return ack_length;
}

static size_t parse_jetstream_ack(const char *at, size_t left, uint64_t *number) {
    const char *end = memchr(at, '\n', left > 256 ? 256 : left);
    if (end == NULL) return 0;
    if (memcmp(at, ack_frame, ack_prefix) != 0) die("an unexpected frame: %.*s", (int)(end - at), at);
    *number = read_number(at + ack_prefix, digits_of_acks);
    const char *size = end - 1;
    while (size[-1] != ' ') size--;
    size_t payload = (size_t)strtoul(size, NULL, 10), line = (size_t)(end - at) + 1;
    if (left < line + payload + 2) return 0;
    if (memmem(end, payload, "\"error\"", 7) != NULL || memmem(end, payload, "\"seq\":", 6) == NULL)
        die("a publish was refused: %.*s", (int)payload, end + 1);
    return line + payload + 2;
}

// Keeps `window` publishes in flight; every ack must answer the oldest one.
static void publish_window(int fd, Template template, AckParser parse, int size, uint64_t window, double seconds,
                           uint64_t stop_bytes) {
    uint64_t *sent_at = memory(window * sizeof *sent_at);
    size_t out_capacity = BLOCK + template.length, out_length = 0, out_offset = 0;
    char *out = memory(out_capacity), *in = memory(2 * BLOCK);
    size_t in_length = 0;
    uint64_t sent = 0, acked = 0, start = now_ns(), deadline = start + (uint64_t)(seconds * 1e9), last = start;
    uint64_t stop_count = stop_bytes ? (stop_bytes + (uint64_t)size - 1) / (uint64_t)size : 0;
    bool publishing = true;
    nonblocking(fd);
    for (;;) {
        uint64_t now = now_ns();
        if (publishing && (stop_count ? sent >= stop_count : now >= deadline)) publishing = false;
        if (!publishing && acked == sent && out_offset == out_length) break;
        if (out_offset == out_length) out_offset = out_length = 0;
        while (publishing && sent - acked < window && out_length + template.length <= out_capacity &&
               !(stop_count && sent >= stop_count)) {
            char *frame = out + out_length;
            memcpy(frame, template.frame, template.length);
            for (int i = 0; i < template.place_count; i++) write_number(frame + template.places[i], sent, template.digits);
            sent_at[sent % window] = now;
            sent++;
            out_length += template.length;
        }
        if (out_offset < out_length) {
            ssize_t wrote = send(fd, out + out_offset, out_length - out_offset, MSG_NOSIGNAL);
            if (wrote > 0) out_offset += (size_t)wrote;
            else if (errno != EAGAIN) die("send: %s", strerror(errno));
        }
        struct pollfd poll_one = {.fd = fd, .events = (short)(POLLIN | (out_offset < out_length ? POLLOUT : 0))};
        if (poll(&poll_one, 1, 30000) == 0) die("no ack in 30 s; %llu of %llu acknowledged", (unsigned long long)acked, (unsigned long long)sent);
        if (!(poll_one.revents & (POLLIN | POLLHUP))) continue;
        ssize_t got = recv(fd, in + in_length, 2 * BLOCK - in_length, 0);
        if (got == 0) die("the server closed the connection");
        if (got < 0) continue;
        in_length += (size_t)got;
        char *at = in;
        size_t left = in_length;
        now = now_ns();
        while (left > 0) {
            if (left >= 6 && *at == 'P') {
                if (memcmp(at, "PING\r\n", 6) != 0) die("unexpected: %.*s", (int)left, at);
                // Only whole frames are in `out`, but one may be half sent: append behind it.
                memcpy(out + out_length, "PONG\r\n", 6);
                if (out_length + 6 > out_capacity) die("no room for a PONG");
                out_length += 6;
                at += 6;
                left -= 6;
                continue;
            }
            if (*at == 'I' || *at == '-') {
                char *end = memchr(at, '\n', left);
                if (end == NULL) break;
                if (*at == '-') die("the server said: %.*s", (int)(end - at), at);
                left -= (size_t)(end - at) + 1;
                at = end + 1;
                continue;
            }
            uint64_t number;
            size_t length = parse(at, left, &number);
            if (length == 0) break;
            if (number != acked) die("ack %llu came where %llu was due", (unsigned long long)number, (unsigned long long)acked);
            observe(now - sent_at[acked % window]);
            acked++;
            at += length;
            left -= length;
            last = now;
        }
        memmove(in, at, left);
        in_length = left;
    }
    double elapsed = (double)(last - start) / 1e9;
    printf("{\"messages\": %llu, \"seconds\": %.6f, \"rate\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f}\n",
           (unsigned long long)acked, elapsed, (double)acked / elapsed, percentile_us(0.5), percentile_us(0.99),
           percentile_us(0.999));
}

// streaming

static size_t varint(char *at, uint64_t value) {
    size_t length = 0;
    while (value >= 0x80) {
        at[length++] = (char)(value | 0x80);
        value >>= 7;
    }
    at[length++] = (char)value;
    return length;
}

static size_t bytes_field(char *at, int field, const char *data, size_t size) {
    size_t length = varint(at, (uint64_t)field << 3 | 2);
    length += varint(at + length, size);
    memcpy(at + length, data, size);
    return length + size;
}

static const char *const STREAM_INBOX = "_STAN.acks.loadgen0000000000000000";

// The PUB frame of one streaming publish; `guid` tells where the guid's digits are.
static size_t streaming_frame(char *frame, const char *cluster, int size, size_t *guid) {
    char *message = memory((size_t)size + 256), *payload = memory((size_t)size + 1);
    fill_payload(payload, size);
    size_t length = bytes_field(message, 1, "loadgen", 7);
    size_t guid_in_message = length + 2;
    length += bytes_field(message + length, 2, "0000000000000000000000", GUID);
    length += bytes_field(message + length, 3, "bench", 5);
    length += bytes_field(message + length, 5, payload, (size_t)size);
    length += bytes_field(message + length, 6, "loadgenConnection00000", 22);
    int line = sprintf(frame, "PUB _STAN.pub.%s.bench %s %zu\r\n", cluster, STREAM_INBOX, length);
    memcpy(frame + line, message, length);
    memcpy(frame + line + length, "\r\n", 2);
    *guid = (size_t)line + guid_in_message;
    free(message);
    free(payload);
    return (size_t)line + length + 2;
}

static void prepare_streaming_acks(void) {
    static char frame[256];
    int line = sprintf(frame, "MSG %s 1 %d\r\n", STREAM_INBOX, GUID + 2);
    frame[line] = 0x0a;
    frame[line + 1] = GUID;
    ack_frame = frame;
    ack_prefix = (size_t)line + 2;
    digits_of_acks = GUID;
    ack_length = ack_prefix + GUID + 2;
}

static void streaming(int port, const char *cluster, int size, uint64_t window, double seconds, uint64_t stop) {
    char connect_message[512];
    size_t length = bytes_field(connect_message, 1, "loadgen", 7);
    length += bytes_field(connect_message + length, 2, "_INBOX.loadgenHeartbeat", 23);
    length += varint(connect_message + length, 3 << 3);
    length += varint(connect_message + length, 1);
    length += bytes_field(connect_message + length, 4, "loadgenConnection00000", 22);
    int fd = join(port);
    // The heartbeat interval is longer than a run: the inbox only has to exist.
    say(fd, "SUB _INBOX.loadgenHeartbeat 3\r\nSUB _INBOX.loadgenConnect 2\r\nSUB %s 1\r\n", STREAM_INBOX);
    fence(fd);
    say(fd, "PUB _STAN.discover.%s _INBOX.loadgenConnect %zu\r\n", cluster, length);
    send_all(fd, connect_message, length);
    send_all(fd, "\r\n", 2);
    // An error text begins with "stan:", a notice of no responders with NATS/1.0, a success names its subjects.
    char *answer = read_until_any(fd, "_STAN.subclose.", "stan:", "NATS/1.0 503");
    if (strstr(answer, "_STAN.subclose.") == NULL) die("the connect request was refused: %s", answer);
    fence(fd);
    Template template = {.digits = GUID, .place_count = 1};
    char *frame = memory((size_t)size + 1024);
    template.length = streaming_frame(frame, cluster, size, &template.places[0]);
    template.frame = frame;
    prepare_streaming_acks();
    publish_window(fd, template, parse_streaming_ack, size, window, seconds, stop);
}

// jetstream

static void jetstream(int port, int size, uint64_t window, double seconds, const char *storage, uint64_t stop) {
    int fd = join(port);
    char body[512];
    int length = sprintf(body, "{\"name\":\"bench\",\"subjects\":[\"bench.js\"],\"storage\":\"%s\",\"retention\":\"limits\","
                         "\"discard\":\"old\",\"num_replicas\":1,\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0,"
                         "\"duplicate_window\":120000000000}", storage);
    say(fd, "SUB _INBOX.loadgenApi 2\r\nSUB _INBOX.loadgen.* 1\r\n");
    fence(fd);
    say(fd, "PUB $JS.API.STREAM.CREATE.bench _INBOX.loadgenApi %d\r\n%s\r\n", length, body);
    char *answer = read_until(fd, "stream_create_response");
    if (strstr(answer, "\"error\"")) die("the stream was not created: %s", answer);
    fence(fd);
    Template template = {.digits = 12, .place_count = 1};
    char *frame = memory((size_t)size + 256);
    int line = sprintf(frame, "PUB bench.js _INBOX.loadgen.000000000000 %d\r\n", size);
    template.places[0] = strlen("PUB bench.js _INBOX.loadgen.");
    fill_payload(frame + line, size);
    memcpy(frame + line + size, "\r\n", 2);
    template.length = (size_t)line + (size_t)size + 2;
    template.frame = frame;
    ack_frame = "MSG _INBOX.loadgen.";
    ack_prefix = strlen(ack_frame);
    digits_of_acks = 12;
    publish_window(fd, template, parse_jetstream_ack, size, window, seconds, stop);
}

// sync: what the disk can do

static void sync_rate(const char *path, double seconds) {
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
    printf("{\"messages\": %llu, \"seconds\": %.6f, \"rate\": %.0f, \"p50_us\": %.1f, \"p99_us\": %.1f}\n",
           (unsigned long long)observations, elapsed, (double)observations / elapsed, percentile_us(0.5),
           percentile_us(0.99));
}

// null: a server that parses nothing, for the generator's own limit

typedef struct {
    int fd;
    bool subscriber, publisher;
    uint64_t received;  // bytes of publishes
    uint64_t owed, paid;  // bytes of the answer stream
    char head[4096];
    size_t head_length;
} Peer;

static void null_server(int port, const char *mode, int size, int subscribers) {
    bool streams = strcmp(mode, "streaming") == 0;
    char *frame = memory((size_t)size + 1024), *answer = memory((size_t)size + 1024);
    size_t frame_length, answer_length, guid = 0;
    if (streams) {
        frame_length = streaming_frame(frame, "null", size, &guid);
        prepare_streaming_acks();
        memcpy(answer, ack_frame, ack_prefix);
        memcpy(answer + ack_length - 2, "\r\n", 2);
        answer_length = ack_length;
    } else {
        frame_length = (size_t)sprintf(frame, "PUB %s %d\r\n", SUBJECT, size) + (size_t)size + 2;
        answer_length = (size_t)sprintf(answer, "MSG %s 1 %d\r\n", SUBJECT, size);
        fill_payload(answer + answer_length, size);
        memcpy(answer + answer_length + size, "\r\n", 2);
        answer_length += (size_t)size + 2;
    }
    char *stream = repeated(answer, answer_length, BLOCK), *in = memory(BLOCK), *acks = memory(2 * BLOCK);
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) != 0 || listen(listener, 128) != 0) die("listen: %s", strerror(errno));
    puts("listening");
    fflush(stdout);
    static Peer peers[65];
    struct pollfd polls[66];
    int count = 0, closed = 0, wanted = streams ? 1 : subscribers + 1;
    uint64_t next_guid = 0;
    while (closed < wanted) {
        polls[0] = (struct pollfd){.fd = listener, .events = POLLIN};
        for (int i = 0; i < count; i++)
            polls[i + 1] = (struct pollfd){.fd = peers[i].fd, .events = (short)(POLLIN | (peers[i].paid < peers[i].owed ? POLLOUT : 0))};
        if (poll(polls, (nfds_t)count + 1, 30000) == 0) die("the null server heard nothing for 30 s");
        if (polls[0].revents & POLLIN && count < 65) {
            int fd = accept(listener, NULL, NULL);
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            peers[count++] = (Peer){.fd = fd};
            say(fd, "INFO {\"server_id\":\"null\",\"max_payload\":1048576,\"proto\":1,\"headers\":true} \r\n");
            continue;
        }
        for (int i = 0; i < count; i++) {
            Peer *peer = &peers[i];
            if (peer->fd < 0) continue;
            if (polls[i + 1].revents & POLLOUT && peer->paid < peer->owed) {
                uint64_t due = peer->owed - peer->paid;
                ssize_t wrote = send(peer->fd, stream + peer->paid % answer_length, due < BLOCK ? due : BLOCK, MSG_NOSIGNAL | MSG_DONTWAIT);
                if (wrote > 0) peer->paid += (uint64_t)wrote;
            }
            if (!(polls[i + 1].revents & (POLLIN | POLLHUP))) continue;
            ssize_t got = recv(peer->fd, in, BLOCK, 0);
            if (got <= 0) {
                close(peer->fd);
                peer->fd = -1;
                closed++;
                continue;
            }
            if (!peer->publisher) {
                // The handshake: lines until the first publish to the benchmark's own subject.
                if (peer->head_length + (size_t)got >= sizeof peer->head && !memmem(in, (size_t)got, "PUB ", 4)) die("a long handshake");
                size_t room = sizeof peer->head - 1 - peer->head_length, take = (size_t)got < room ? (size_t)got : room;
                memcpy(peer->head + peer->head_length, in, take);
                peer->head_length += take;
                peer->head[peer->head_length] = 0;
                if (memmem(peer->head, peer->head_length, "SUB bench", 9)) peer->subscriber = true;
                const char *first = streams ? "PUB _STAN.pub." : "PUB bench";
                char *publish = memmem(in, (size_t)got, first, strlen(first));
                if (streams && publish == NULL && memmem(in, (size_t)got, "PUB _STAN.discover", 18)) {
                    say(peer->fd, "MSG _INBOX.loadgenConnect 2 20\r\n_STAN.subclose.null.\r\n");
                    continue;
                }
                if (publish == NULL) {
                    if (memmem(in, (size_t)got, "PING\r\n", 6)) send_all(peer->fd, "PONG\r\n", 6);
                    continue;
                }
                peer->publisher = true;
                size_t skip = (size_t)(publish - in);
                memmove(in, publish, (size_t)got - skip);
                got -= (ssize_t)skip;
            }
            bool end = got >= 6 && memcmp(in + got - 6, "PING\r\n", 6) == 0;
            uint64_t before = peer->received / frame_length;
            peer->received += (uint64_t)got - (end ? 6 : 0);
            uint64_t messages = peer->received / frame_length - before;
            if (streams) {
                size_t length = 0;
                for (uint64_t m = 0; m < messages; m++) {
                    memcpy(acks + length, answer, answer_length);
                    write_number(acks + length + ack_prefix, next_guid++, GUID);
                    length += answer_length;
                }
                send_all(peer->fd, acks, length);
            } else {
                for (int s = 0; s < count; s++)
                    if (peers[s].subscriber) peers[s].owed += messages * answer_length;
            }
            if (end) send_all(peer->fd, "PONG\r\n", 6);
        }
    }
}

int main(int count, char **words) {
    const char *mode = count > 1 ? words[1] : "";
    if (strcmp(mode, "core") == 0 && count == 6)
        core(atoi(words[2]), atoi(words[3]), atoi(words[4]), atof(words[5]));
    else if (strcmp(mode, "request") == 0 && count == 5)
        request(atoi(words[2]), atoi(words[3]), atof(words[4]));
    else if (strcmp(mode, "streaming") == 0 && (count == 7 || count == 8))
        streaming(atoi(words[2]), words[3], atoi(words[4]), strtoull(words[5], NULL, 10), atof(words[6]),
                  count == 8 ? strtoull(words[7], NULL, 10) : 0);
    else if (strcmp(mode, "jetstream") == 0 && (count == 7 || count == 8))
        jetstream(atoi(words[2]), atoi(words[3]), strtoull(words[4], NULL, 10), atof(words[5]), words[6],
                  count == 8 ? strtoull(words[7], NULL, 10) : 0);
    else if (strcmp(mode, "sync") == 0 && count == 4)
        sync_rate(words[2], atof(words[3]));
    else if (strcmp(mode, "null") == 0 && (count == 5 || count == 6))
        null_server(atoi(words[2]), words[3], atoi(words[4]), count == 6 ? atoi(words[5]) : 0);
    else
        die("what to do? See the head of loadgen.c");
    return 0;
}
