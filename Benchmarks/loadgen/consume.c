// Reading back what a publish run stored, from its first message, each payload compared and each sequence expected:
// a NATS Streaming subscription with manual acks, a JetStream pull consumer with explicit acks (fetched by halves of
// the window, as the client libraries do), and an ordered push consumer (no acks, flow control).
#define _GNU_SOURCE
#include "loadgen.h"

typedef struct {
    int fd;
    const Work *work;
    char *payload;
    char *in, *out;
    size_t in_length, out_length;
    uint64_t received, wanted;
    char ack_prefix[256];  // streaming: the PUB line of an ack without its size
} Consumer;

static void flush(Consumer *consumer) {
    send_all(consumer->fd, consumer->out, consumer->out_length);
    consumer->out_length = 0;
}

static char *room(Consumer *consumer, size_t length) {
    if (consumer->out_length + length > BLOCK) flush(consumer);
    return consumer->out + consumer->out_length;
}

static void expect(Consumer *consumer, uint64_t sequence, const char *payload, size_t size) {
    if (sequence != consumer->received + 1)
        die("message %llu came where %llu was due", (unsigned long long)sequence, (unsigned long long)consumer->received + 1);
    size_t half = size / 2;
    if (size != (size_t)consumer->work->size || memcmp(payload, noise(sequence - 1, (int)size), half) != 0 ||
        memcmp(payload + half, consumer->payload + half, size - half) != 0)
        die("message %llu came with another payload", (unsigned long long)sequence);
    consumer->received++;
}

// Calls `take` with each whole message until `wanted` came; `batch_end` after each read.
typedef void (*Taker)(Consumer *, const char *reply, size_t reply_length, const char *payload, size_t size);

static void receive(Consumer *consumer, Taker take, void (*batch_end)(Consumer *)) {
    uint64_t start = now_ns();
    while (consumer->received < consumer->wanted) {
        struct pollfd poll_one = {.fd = consumer->fd, .events = POLLIN};
        if (poll(&poll_one, 1, 30000) == 0)
            die("nothing came in 30 s; %llu of %llu had", (unsigned long long)consumer->received, (unsigned long long)consumer->wanted);
        ssize_t got = recv(consumer->fd, consumer->in + consumer->in_length, 2 * BLOCK - consumer->in_length, 0);
        if (got <= 0) die("the server closed the connection");
        consumer->in_length += (size_t)got;
        const char *at = consumer->in;
        size_t left = consumer->in_length;
        while (left > 0 && consumer->received < consumer->wanted) {
            const char *end = memchr(at, '\n', left);
            if (end == NULL) break;
            size_t line = (size_t)(end - at) + 1;
            if (*at == 'P') {
                memcpy(room(consumer, 6), "PONG\r\n", 6);
                consumer->out_length += 6;
            } else if (*at == '-') {
                die("the server said: %.*s", (int)line, at);
            } else if (*at == 'M' || *at == 'H') {
                const char *size_text = end - 1;
                while (size_text[-1] != ' ') size_text--;
                size_t size = (size_t)strtoul(size_text, NULL, 10);
                if (left < line + size + 2) break;
                const char *reply_end = size_text - 1, *reply = reply_end;
                if (*at == 'H') {
                    // A header block in place of a payload: a status. Flow control asks for an empty answer.
                    while (reply[-1] != ' ') reply--;
                    reply_end = reply - 1;
                    reply = reply_end;
                    while (reply[-1] != ' ') reply--;
                    if (memmem(end, size, "FlowControl", 11)) {
                        char *out = room(consumer, 512);
                        consumer->out_length += (size_t)sprintf(out, "PUB %.*s 0\r\n\r\n", (int)(reply_end - reply), reply);
                    } else if (memmem(end, size, " 100 ", 5) == NULL && memmem(end, size, " 408 ", 5) == NULL)
                        die("a status came: %.*s", (int)size, end + 1);
                } else {
                    while (reply[-1] != ' ') reply--;
                    take(consumer, reply, (size_t)(reply_end - reply), end + 1, size);
                }
                line += size + 2;
            }
            at += line;
            left -= line;
        }
        memmove(consumer->in, at, left);
        consumer->in_length = left;
        if (batch_end) batch_end(consumer);
        if (consumer->out_length) flush(consumer);
    }
    // Done when the server has read the last ack.
    say(consumer->fd, "PING\r\n");
    consumer->in_length = 0;
    for (;;) {
        ssize_t got = recv(consumer->fd, consumer->in, 2 * BLOCK, 0);
        if (got <= 0) die("the server closed the connection");
        if (memmem(consumer->in, (size_t)got, "PONG\r\n", 6)) break;
    }
    report(consumer->received, (double)(now_ns() - start) / 1e9, false);
}

static Consumer consumer_for(const Work *work, uint64_t count) {
    Consumer consumer = {.fd = join(work->port), .work = work, .wanted = count};
    consumer.payload = memory((size_t)work->size + 1);
    fill_payload(consumer.payload, work->size);
    consumer.in = memory(2 * BLOCK);
    consumer.out = memory(BLOCK + 1024);
    return consumer;
}

// NATS Streaming

static uint64_t read_varint(const char **at) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        uint8_t byte = (uint8_t)*(*at)++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128) return value;
    }
}

static void take_streaming(Consumer *consumer, const char *reply, size_t reply_length, const char *message, size_t size) {
    (void)reply;
    (void)reply_length;
    const char *at = message, *end = message + size, *data = "";
    uint64_t sequence = 0, data_size = 0;
    while (at < end) {
        uint64_t key = read_varint(&at);
        if ((key & 7) == 0) {
            uint64_t value = read_varint(&at);
            if (key >> 3 == 1) sequence = value;
            if (key >> 3 == 6 && value) die("message %llu came marked as redelivered", (unsigned long long)sequence);
        } else if ((key & 7) == 2) {
            uint64_t length = read_varint(&at);
            if (key >> 3 == 4) data = at, data_size = length;
            at += length;
        } else
            die("an unknown field");
    }
    expect(consumer, sequence, data, data_size);
    char ack[64];
    size_t length = bytes_field(ack, 1, "bench", 5);
    length += number_field(ack + length, 2, sequence);
    char *out = room(consumer, 512);
    size_t line = strlen(consumer->ack_prefix);
    memcpy(out, consumer->ack_prefix, line);
    out[line++] = (char)('0' + length / 10);
    out[line++] = (char)('0' + length % 10);
    memcpy(out + line, "\r\n", 2);
    memcpy(out + line + 2, ack, length);
    memcpy(out + line + 2 + length, "\r\n", 2);
    consumer->out_length += line + length + 4;
}

void consume_streaming(const Work *work, uint64_t count) {
    Consumer consumer = consumer_for(work, count);
    streaming_connect(consumer.fd, work->cluster, "consumer");
    char request[256];
    size_t length = bytes_field(request, 1, "consumer", 8);
    length += bytes_field(request + length, 2, "bench", 5);
    length += bytes_field(request + length, 4, "_INBOX.messages", 15);
    length += number_field(request + length, 5, work->window);
    length += number_field(request + length, 6, 30);
    length += number_field(request + length, 10, 4);
    say(consumer.fd, "SUB _INBOX.answer 8\r\nSUB _INBOX.messages 9\r\n");
    fence(consumer.fd);
    say(consumer.fd, "PUB _STAN.sub.%s _INBOX.answer %zu\r\n", work->cluster, length);
    send_all(consumer.fd, request, length);
    send_all(consumer.fd, "\r\n", 2);
    char answer[512];
    size_t answered = read_message(consumer.fd, answer, sizeof answer);
    if (answered < 2 || answer[0] != 0x12 || (uint8_t)answer[1] > answered - 2)
        die("the subscription was refused: %.*s", (int)answered, answer);
    sprintf(consumer.ack_prefix, "PUB %.*s ", (int)(uint8_t)answer[1], answer + 2);
    receive(&consumer, take_streaming, NULL);
}

// JetStream

static uint64_t stream_sequence(const char *reply, size_t length) {
    // $JS.ACK.<stream>.<consumer>.<delivered>.<stream sequence>.…
    const char *at = reply;
    for (int dots = 0; dots < 5; dots++) {
        at = memchr(at, '.', (size_t)(reply + length - at));
        if (at == NULL) die("not an ack subject: %.*s", (int)length, reply);
        at++;
    }
    return strtoull(at, NULL, 10);
}

static uint64_t asked_for;

static void pull(Consumer *consumer, uint64_t batch) {
    char body[64];
    int length = sprintf(body, "{\"batch\":%llu,\"expires\":30000000000}", (unsigned long long)batch);
    char *out = room(consumer, 512);
    consumer->out_length += (size_t)sprintf(out, "PUB $JS.API.CONSUMER.MSG.NEXT.bench.puller _INBOX.messages %d\r\n%s\r\n", length, body);
    asked_for += batch;
}

static void take_pulled(Consumer *consumer, const char *reply, size_t reply_length, const char *payload, size_t size) {
    expect(consumer, stream_sequence(reply, reply_length), payload, size);
    char *out = room(consumer, 512);
    memcpy(out, "PUB ", 4);
    memcpy(out + 4, reply, reply_length);
    memcpy(out + 4 + reply_length, " 4\r\n+ACK\r\n", 10);
    consumer->out_length += reply_length + 14;
}

static void pull_more(Consumer *consumer) {
    if (asked_for - consumer->received <= consumer->work->window / 2) pull(consumer, consumer->work->window / 2);
}

static void take_ordered(Consumer *consumer, const char *reply, size_t reply_length, const char *payload, size_t size) {
    expect(consumer, stream_sequence(reply, reply_length), payload, size);
}

static void create_consumer(int fd, const char *subject, const char *body) {
    say(fd, "SUB _INBOX.api 8\r\n");
    fence(fd);
    say(fd, "PUB %s _INBOX.api %zu\r\n%s\r\n", subject, strlen(body), body);
    char *answer = read_until(fd, "consumer_create_response");
    if (strstr(answer, "\"error\"")) die("the consumer was not created: %s", answer);
}

void consume_pull(const Work *work, uint64_t count) {
    Consumer consumer = consumer_for(work, count);
    char body[512];
    sprintf(body, "{\"stream_name\":\"bench\",\"config\":{\"durable_name\":\"puller\",\"deliver_policy\":\"all\",\"ack_policy\":\"explicit\","
            "\"ack_wait\":30000000000,\"max_ack_pending\":%llu,\"replay_policy\":\"instant\"}}", (unsigned long long)work->window * 2);
    create_consumer(consumer.fd, "$JS.API.CONSUMER.DURABLE.CREATE.bench.puller", body);
    say(consumer.fd, "SUB _INBOX.messages 9\r\n");
    fence(consumer.fd);
    pull(&consumer, work->window);
    flush(&consumer);
    receive(&consumer, take_pulled, pull_more);
}

void consume_ordered(const Work *work, uint64_t count) {
    Consumer consumer = consumer_for(work, count);
    say(consumer.fd, "SUB _INBOX.messages 9\r\n");
    fence(consumer.fd);
    create_consumer(consumer.fd, "$JS.API.CONSUMER.CREATE.bench",
                    "{\"stream_name\":\"bench\",\"config\":{\"deliver_subject\":\"_INBOX.messages\",\"deliver_policy\":\"all\","
                    "\"ack_policy\":\"none\",\"max_deliver\":1,\"flow_control\":true,\"idle_heartbeat\":5000000000,"
                    "\"mem_storage\":true,\"num_replicas\":1,\"replay_policy\":\"instant\"}}");
    receive(&consumer, take_ordered, NULL);
}
