// Durable publishes, `window` of them in flight on each connection, every ack checked: against NATS Streaming
// channels and against a JetStream stream, by the same loop.
#define _GNU_SOURCE
#include "loadgen.h"

enum { JETSTREAM_DIGITS = 12, UUIDS = 5, EVENT = 374 };

// One PUB frame, of which each message changes a few places.
typedef struct {
    char *bytes;
    size_t length;
    size_t number_at;        // the message number, `digits` wide: guid, or token of the reply subject
    int digits;
    size_t channel_at[2];    // four digits of the channel's number, 0 = there is one channel
    size_t payload_at;
    size_t uuids_at[UUIDS];  // 0 = the payload is no event: noise in its first half
} Frame;

typedef struct {
    int fd, index;
    Frame frame;
    char ack[256];       // what an ack looks like up to the number
    size_t ack_prefix;
    size_t ack_length;   // 0 = it has to be found
    uint64_t sent, acked;
    uint64_t *sent_at;   // ns, by number modulo the window; 0 = acknowledged
    char *out, *in;
    size_t out_length, out_offset, in_length;
} Publisher;

void write_number(char *at, uint64_t number, int digits) {
    for (int i = digits - 1; i >= 0; i--) {
        at[i] = (char)('0' + number % 10);
        number /= 10;
    }
}

uint64_t read_number(const char *at, int digits) {
    uint64_t number = 0;
    for (int i = 0; i < digits; i++) {
        if (at[i] < '0' || at[i] > '9') die("no number in: %.*s", digits, at);
        number = number * 10 + (uint64_t)(at[i] - '0');
    }
    return number;
}

// Payloads

static uint64_t chance = 0x9E3779B97F4A7C15u;

static void write_uuid(char *at) {
    static const char hex[] = "0123456789abcdef";
    for (int i = 0; i < 36; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) continue;
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        at[i] = hex[chance >> 33 & 15];
    }
}

// An event of the services as JSON, 374 bytes with five UUIDs, or the payload of the first message.
static void make_payload(const Work *work, char *payload, size_t uuids[UUIDS]) {
    memset(uuids, 0, UUIDS * sizeof *uuids);
    fill_payload(payload, work->size);
    memcpy(payload, noise(0, work->size), (size_t)work->size / 2);
    if (!work->json) return;
    if (work->size != EVENT) die("an event has %d bytes", EVENT);
    static const char event[] =
        "{\"id\":\"########-####-####-####-############\",\"type\":\"MembershipCreated\",\"metadata\":{\"traceId\":"
        "\"########-####-####-####-############\",\"userId\":\"########-####-####-####-############\"},\"data\":{"
        "\"membershipId\":\"########-####-####-####-############\",\"teamId\":\"########-####-####-####-############\","
        "\"role\":\"editor\",\"active\":true,\"updatedAt\":\"2026-11-24 09:01:41.592318 +0000 UTC\"}}";
    _Static_assert(sizeof event - 1 == EVENT, "the event has another length");
    memcpy(payload, event, EVENT);
    const char *at = payload;
    for (int i = 0; i < UUIDS; i++) {
        at = memmem(at, (size_t)(payload + EVENT - at), "########-", 9);
        uuids[i] = (size_t)(at - payload);
        at += 36;
    }
}

// Frames

size_t streaming_frame(char *frame, const char *cluster, const char *client, const char *channel, const char *inbox,
                       const char *payload, int size, size_t *guid, size_t *channel_in_message) {
    char *message = memory((size_t)size + 512);
    size_t length = bytes_field(message, 1, client, strlen(client));
    size_t guid_in_message = length + 2;
    length += bytes_field(message + length, 2, "0000000000000000000000", GUID);
    size_t channel_end = length + 2 + strlen(channel);
    length += bytes_field(message + length, 3, channel, strlen(channel));
    length += bytes_field(message + length, 5, payload, (size_t)size);
    length += bytes_field(message + length, 6, client, strlen(client));
    int line = sprintf(frame, "PUB _STAN.pub.%s.%s %s %zu\r\n", cluster, channel, inbox, length);
    memcpy(frame + line, message, length);
    memcpy(frame + line + length, "\r\n", 2);
    *guid = (size_t)line + guid_in_message;
    if (channel_in_message) *channel_in_message = (size_t)line + channel_end - 4;
    free(message);
    return (size_t)line + length + 2;
}

size_t streaming_ack(char *frame, const char *inbox, size_t *whole) {
    int line = sprintf(frame, "MSG %s 1 %d\r\n", inbox, GUID + 2);
    frame[line] = 0x0a;
    frame[line + 1] = GUID;
    *whole = (size_t)line + 2 + GUID + 2;
    return (size_t)line + 2;
}

static void find_payload(Frame *frame, const char *payload, int size, const size_t uuids[UUIDS]) {
    const char *at = memmem(frame->bytes, frame->length, payload, (size_t)size);
    frame->payload_at = (size_t)(at - frame->bytes);
    for (int i = 0; i < UUIDS; i++) frame->uuids_at[i] = uuids[i] ? (size_t)(at - frame->bytes) + uuids[i] : 0;
}

// Writes the next message behind what waits to be sent.
static void add_message(Publisher *publisher, const Work *work, uint64_t at) {
    const Frame *frame = &publisher->frame;
    char *out = publisher->out + publisher->out_length;
    memcpy(out, frame->bytes, frame->length);
    write_number(out + frame->number_at, publisher->sent, frame->digits);
    if (frame->channel_at[0]) {
        uint64_t channel = publisher->sent % (uint64_t)work->channels;
        write_number(out + frame->channel_at[0], channel, 4);
        if (frame->channel_at[1]) write_number(out + frame->channel_at[1], channel, 4);
    }
    if (frame->uuids_at[0])
        for (int i = 0; i < UUIDS; i++) write_uuid(out + frame->uuids_at[i]);
    else
        memcpy(out + frame->payload_at,
               noise(publisher->sent * (uint64_t)work->connections + (uint64_t)publisher->index, work->size),
               (size_t)work->size / 2);
    publisher->sent_at[publisher->sent % work->window] = at;
    publisher->sent++;
    publisher->out_length += frame->length;
}

// Acks

// The length of the ack at `at`, 0 when it is not whole yet.
static size_t parse_ack(const Publisher *publisher, const char *at, size_t left, uint64_t *number) {
    if (publisher->ack_length) {
        if (left < publisher->ack_length) return 0;  // an error ack is longer than a success, so it gets here too
        if (memcmp(at, publisher->ack, publisher->ack_prefix) != 0)
            die("an unexpected frame, or a refused publish: %.*s", (int)(left > 200 ? 200 : left), at);
        *number = read_number(at + publisher->ack_prefix, GUID);
        return publisher->ack_length;
    }
    const char *end = memchr(at, '\n', left > 256 ? 256 : left);
    if (end == NULL) return 0;
    if (memcmp(at, publisher->ack, publisher->ack_prefix) != 0) die("an unexpected frame: %.*s", (int)(end - at), at);
    *number = read_number(at + publisher->ack_prefix, JETSTREAM_DIGITS);
    const char *size = end - 1;
    while (size[-1] != ' ') size--;
    size_t payload = (size_t)strtoul(size, NULL, 10), line = (size_t)(end - at) + 1;
    if (left < line + payload + 2) return 0;
    if (memmem(end, payload, "\"error\"", 7) != NULL || memmem(end, payload, "\"seq\":", 6) == NULL)
        die("a publish was refused: %.*s", (int)payload, end + 1);
    return line + payload + 2;
}

// With one channel every ack must answer the oldest publish; with more, one that is open, and each one once.
static void note_ack(Publisher *publisher, const Work *work, uint64_t number, uint64_t now) {
    if (work->channels == 1 && number != publisher->acked)
        die("ack %llu came where %llu was due", (unsigned long long)number, (unsigned long long)publisher->acked);
    uint64_t *sent_at = &publisher->sent_at[number % work->window];
    if (number >= publisher->sent || number + work->window < publisher->sent || *sent_at == 0)
        die("ack %llu came for nothing that was open", (unsigned long long)number);
    observe(&latencies, now > *sent_at ? now - *sent_at : 0);
    *sent_at = 0;
    publisher->acked++;
}

static void read_acks(Publisher *publisher, const Work *work) {
    ssize_t got = recv(publisher->fd, publisher->in + publisher->in_length, 2 * BLOCK - publisher->in_length, 0);
    if (got == 0) die("the server closed the connection");
    if (got < 0) return;
    publisher->in_length += (size_t)got;
    char *at = publisher->in;
    size_t left = publisher->in_length;
    uint64_t now = now_ns();
    while (left > 0) {
        if (left >= 6 && *at == 'P') {
            if (memcmp(at, "PING\r\n", 6) != 0) die("unexpected: %.*s", (int)left, at);
            // Only whole frames are in `out`, but one may be half sent: append behind it.
            memcpy(publisher->out + publisher->out_length, "PONG\r\n", 6);
            publisher->out_length += 6;
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
        size_t length = parse_ack(publisher, at, left, &number);
        if (length == 0) break;
        note_ack(publisher, work, number, now);
        at += length;
        left -= length;
    }
    memmove(publisher->in, at, left);
    publisher->in_length = left;
}

// The loop. With a rate, message n is due at n / rate, and its latency counts from then, sent late or not.

static void run(Publisher *publishers, const Work *work) {
    int epoll = epoll_create1(0);
    struct epoll_event events[MAX_CONNECTIONS];
    bool waits[MAX_CONNECTIONS];  // for room to write
    size_t capacity = BLOCK + publishers[0].frame.length + 64;
    for (int i = 0; i < work->connections; i++) {
        Publisher *publisher = &publishers[i];
        publisher->sent_at = memory(work->window * sizeof(uint64_t));
        memset(publisher->sent_at, 0, work->window * sizeof(uint64_t));
        publisher->index = i;
        publisher->out = memory(capacity);
        publisher->in = memory(2 * BLOCK);
        nonblocking(publisher->fd);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, publisher->fd, &event) != 0) die("epoll: %s", strerror(errno));
        waits[i] = false;
    }
    uint64_t stop = work->bytes ? (work->bytes + (uint64_t)work->size - 1) / (uint64_t)work->size : UINT64_MAX;
    uint64_t sent = 0, acked = 0, start = now_ns(), heard = start;
    uint64_t warm = start + (uint64_t)(work->warmup * 1e9), deadline = warm + (uint64_t)(work->seconds * 1e9), before_warm = 0;
    uint64_t paced_from = start;
    bool was_blocked = false;  // Messages that were due could not be sent.
    double gap = work->rate > 0 ? 1e9 / work->rate : 0;
    for (;;) {
        uint64_t now = now_ns();
        if (warm && now >= warm) {
            // From here on it counts.
            warmed_up(acked);
            before_warm = acked;
            start = now;
            warm = 0;
        }
        bool publishing = work->bytes ? sent < stop : now < deadline;
        if (!publishing && acked == sent) break;
        bool is_blocked = false;
        for (int i = 0; i < work->connections; i++) {
            Publisher *publisher = &publishers[i];
            if (publisher->out_offset == publisher->out_length) publisher->out_offset = publisher->out_length = 0;
            // A slot is free when the publish that used it is acknowledged, which may come out of order.
            bool more = false;  // The buffer is full before the window is: on as soon as it is sent.
            while (publishing && sent < stop && publisher->sent_at[publisher->sent % work->window] == 0) {
                uint64_t due = gap > 0 ? paced_from + (uint64_t)((double)sent * gap) : now;
                if (due > now) break;
                more = publisher->out_length + publisher->frame.length + 64 > capacity;
                if (more) break;
                if (gap > 0 && !was_blocked) observe(&lateness, now - due);
                add_message(publisher, work, due);
                sent++;
            }
            if (more || publisher->sent_at[publisher->sent % work->window] != 0) is_blocked = true;
            if (publisher->out_offset < publisher->out_length) {
                ssize_t wrote = send(publisher->fd, publisher->out + publisher->out_offset,
                                     publisher->out_length - publisher->out_offset, MSG_NOSIGNAL);
                if (wrote > 0) publisher->out_offset += (size_t)wrote;
                else if (errno != EAGAIN) die("send: %s", strerror(errno));
            }
            bool writes = more || publisher->out_offset < publisher->out_length;
            if (writes != waits[i]) {
                struct epoll_event event = {.events = writes ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.u32 = (uint32_t)i};
                if (epoll_ctl(epoll, EPOLL_CTL_MOD, publisher->fd, &event) != 0) die("epoll: %s", strerror(errno));
                waits[i] = writes;
            }
            if (writes) is_blocked = true;
        }
        was_blocked = is_blocked;
        // Paced messages wake the loop when the next one is due, 50 µs at the least.
        uint64_t wait = gap > 0 && publishing ? (gap > 50000 ? (uint64_t)gap : 50000) : 30000000000u;
        struct timespec timeout = {.tv_sec = (time_t)(wait / 1000000000u), .tv_nsec = (long)(wait % 1000000000u)};
        int ready = epoll_pwait2(epoll, events, MAX_CONNECTIONS, &timeout, NULL);
        for (int n = 0; n < ready; n++) {
            if (!(events[n].events & (EPOLLIN | EPOLLHUP))) continue;
            uint32_t i = events[n].data.u32;
            uint64_t before = publishers[i].acked;
            read_acks(&publishers[i], work);
            acked += publishers[i].acked - before;
            if (publishers[i].acked != before) heard = now_ns();
        }
        if (sent > acked && now_ns() > heard + 30000000000u && now > heard + 30000000000u)
            die("no ack in 30 s; %llu of %llu acknowledged", (unsigned long long)acked, (unsigned long long)sent);
        if (sent == acked) heard = now_ns();
    }
    report(acked - before_warm, (double)(heard - start) / 1e9, true);
}

void publish_streaming(const Work *work) {
    static Publisher publishers[MAX_CONNECTIONS];
    char *payload = memory((size_t)work->size + EVENT + 1);
    size_t uuids[UUIDS];
    make_payload(work, payload, uuids);
    for (int i = 0; i < work->connections; i++) {
        Publisher *publisher = &publishers[i];
        char client[32], inbox[64];
        sprintf(client, "loadgen%02d", i);
        sprintf(inbox, "_STAN.acks.loadgen%02d00000000000000", i);
        publisher->fd = join(work->port);
        say(publisher->fd, "SUB %s 1\r\n", inbox);
        streaming_connect(publisher->fd, work->cluster, client);
        Frame *frame = &publisher->frame;
        frame->bytes = memory((size_t)work->size + 1024);
        frame->digits = GUID;
        size_t in_message;
        frame->length = streaming_frame(frame->bytes, work->cluster, client, work->channels > 1 ? "bench0000" : "bench", inbox,
                                        payload, work->size, &frame->number_at, &in_message);
        if (work->channels > 1) {
            frame->channel_at[0] = strlen("PUB _STAN.pub..bench") + strlen(work->cluster);
            frame->channel_at[1] = in_message;
        }
        find_payload(frame, payload, work->size, uuids);
        publisher->ack_prefix = streaming_ack(publisher->ack, inbox, &publisher->ack_length);
    }
    run(publishers, work);
}

void publish_jetstream(const Work *work) {
    static Publisher publishers[MAX_CONNECTIONS];
    char *payload = memory((size_t)work->size + EVENT + 1);
    size_t uuids[UUIDS];
    make_payload(work, payload, uuids);
    for (int i = 0; i < work->connections; i++) {
        Publisher *publisher = &publishers[i];
        int fd = publisher->fd = join(work->port);
        say(fd, "SUB _INBOX.loadgenApi%02d 2\r\nSUB _INBOX.loadgen%02d.* 1\r\n", i, i);
        fence(fd);
        if (i == 0) {
            char body[512];
            int length = sprintf(body, "{\"name\":\"bench\",\"subjects\":[\"bench.js.>\"],\"storage\":\"%s\",\"retention\":\"limits\","
                                 "\"discard\":\"old\",\"num_replicas\":1,\"max_msgs\":-1,\"max_bytes\":-1,\"max_age\":0,"
                                 "\"duplicate_window\":120000000000}", work->storage);
            say(fd, "PUB $JS.API.STREAM.CREATE.bench _INBOX.loadgenApi00 %d\r\n%s\r\n", length, body);
            char *answer = read_until(fd, "stream_create_response");
            if (strstr(answer, "\"error\"")) die("the stream was not created: %s", answer);
            fence(fd);
        }
        Frame *frame = &publisher->frame;
        frame->bytes = memory((size_t)work->size + 256);
        frame->digits = JETSTREAM_DIGITS;
        int line = sprintf(frame->bytes, "PUB bench.js.0000 _INBOX.loadgen%02d.000000000000 %d\r\n", i, work->size);
        frame->number_at = strlen("PUB bench.js.0000 _INBOX.loadgen00.");
        if (work->channels > 1) frame->channel_at[0] = strlen("PUB bench.js.");
        memcpy(frame->bytes + line, payload, (size_t)work->size);
        memcpy(frame->bytes + line + work->size, "\r\n", 2);
        frame->length = (size_t)line + (size_t)work->size + 2;
        find_payload(frame, payload, work->size, uuids);
        publisher->ack_prefix = (size_t)sprintf(publisher->ack, "MSG _INBOX.loadgen%02d.", i);
    }
    run(publishers, work);
}
