// What every mode needs: time, latencies, connections and the words of the text protocol.
#define _GNU_SOURCE
#include "loadgen.h"

void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("loadgen: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    exit(1);
}

uint64_t now_ns(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void *memory(size_t size) {
    void *result = malloc(size);
    if (result == NULL) die("out of memory");
    return result;
}

Histogram latencies, lateness;

void observe(Histogram *histogram, uint64_t ns) {
    int exponent = ns < 32 ? 0 : 63 - __builtin_clzll(ns) - 4;
    uint64_t mantissa = ns >> exponent;  // 0…31 below 32 ns, else 16…31
    histogram->buckets[(size_t)exponent * 32 + mantissa]++;
    histogram->count++;
}

double percentile_us(const Histogram *histogram, double fraction) {
    uint64_t count = histogram->count, rank = (uint64_t)(fraction * (double)count), seen = 0;
    if (rank >= count) rank = count ? count - 1 : 0;
    for (size_t i = 0; i < 64 * 32; i++) {
        seen += histogram->buckets[i];
        if (seen > rank) return (double)((i % 32) << (i / 32)) / 1000;
    }
    return 0;
}

// Connections

int dial(int port) {
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

void send_all(int fd, const char *data, size_t length) {
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) die("send: %s", strerror(errno));
        data += sent;
        length -= (size_t)sent;
    }
}

void say(int fd, const char *format, ...) {
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
char *read_until_any(int fd, const char *needle, const char *second, const char *third) {
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

char *read_until(int fd, const char *needle) { return read_until_any(fd, needle, NULL, NULL); }

int join(int port) {
    int fd = dial(port);
    read_until(fd, "\r\n");
    say(fd, "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1,"
            "\"lang\":\"c\",\"version\":\"1\",\"name\":\"loadgen\",\"echo\":true}\r\nPING\r\n");
    read_until(fd, "PONG\r\n");
    return fd;
}

// A fence that skips whatever else comes (INFO lines).
void fence(int fd) {
    say(fd, "PING\r\n");
    read_until(fd, "PONG\r\n");
}

size_t read_message(int fd, char *payload, size_t capacity) {
    char line[1024];
    size_t length = 0;
    do {
        if (length == sizeof line - 1 || recv(fd, line + length, 1, 0) != 1) die("no message came: %.*s", (int)length, line);
    } while (line[length++] != '\n');
    line[length] = 0;
    if (memcmp(line, "MSG ", 4) != 0) die("no message, but: %s", line);
    size_t size = (size_t)strtoul(strrchr(line, ' '), NULL, 10);
    if (size + 2 > capacity) die("a message of %zu bytes", size);
    for (size_t have = 0; have < size + 2;) {
        ssize_t got = recv(fd, payload + have, size + 2 - have, 0);
        if (got <= 0) die("the server closed the connection");
        have += (size_t)got;
    }
    return size;
}

void nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

// Server PINGs inside a stream of other frames are answered by whoever parses; returns true when handled.
bool answer_ping(int fd, const char *line) {
    if (memcmp(line, "PING\r\n", 6) != 0) return false;
    send_all(fd, "PONG\r\n", 6);
    return true;
}

// A buffer that repeats `frame` for at least `size` bytes and one frame more.
char *repeated(const char *frame, size_t frame_length, size_t size) {
    size_t count = size / frame_length + 2;
    char *buffer = memory(count * frame_length);
    for (size_t i = 0; i < count; i++) memcpy(buffer + i * frame_length, frame, frame_length);
    return buffer;
}

void fill_payload(char *payload, int size) {
    for (int i = 0; i < size; i++) payload[i] = (char)('a' + i % 26);
}

enum { POOL = 4 << 20 };

const char *noise(uint64_t number, int size) {
    static char *pool;
    if (pool == NULL) {
        pool = memory(POOL);
        uint64_t chance = 0x9E3779B97F4A7C15u;
        for (int i = 0; i < POOL; i += 8) {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            memcpy(pool + i, &chance, 8);
        }
    }
    if (size > POOL / 2) die("a payload of at most %d bytes", POOL / 2);
    return pool + number * (uint64_t)(size / 2) % (uint64_t)(POOL - size / 2);
}

static double busy_ns(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1e9 +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e3;
}

static uint64_t warmed_up_with;
static double busy_before;

void warmed_up(uint64_t messages) {
    latencies = lateness = (Histogram){0};
    warmed_up_with = messages;
    busy_before = busy_ns();
}

void report(uint64_t messages, double seconds, bool has_latencies) {
    printf("{\"messages\": %llu, \"all_messages\": %llu, \"seconds\": %.6f, \"rate\": %.0f, \"generator_ns\": %.1f",
           (unsigned long long)messages, (unsigned long long)(messages + warmed_up_with), seconds, (double)messages / seconds,
           (busy_ns() - busy_before) / (double)(messages ? messages : 1));
    if (has_latencies)
        printf(", \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, \"worst_us\": %.1f", percentile_us(&latencies, 0.5),
               percentile_us(&latencies, 0.99), percentile_us(&latencies, 0.999), percentile_us(&latencies, 1));
    if (lateness.count)
        printf(", \"late_p99_us\": %.1f, \"late_p999_us\": %.1f", percentile_us(&lateness, 0.99), percentile_us(&lateness, 0.999));
    printf("}\n");
}
