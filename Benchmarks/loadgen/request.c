#define _GNU_SOURCE
#include "loadgen.h"

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

void request(int port, int size, double seconds) {
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
        observe(&latencies, after - before);
        before = after;
    }
    double elapsed = (double)(before - start) / 1e9;
    report(latencies.count, elapsed, true);
}
