#define _GNU_SOURCE
#include "loadgen.h"

// core


typedef struct {
    int fd;
    uint64_t received;  // bytes
} Subscriber;

void core(int port, int size, int subscribers, double seconds) {
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
    report(messages, elapsed, false);
}
