#define _GNU_SOURCE
#include "loadgen.h"

// null: a server that parses nothing, for the generator's own limit

#define INBOX "_STAN.acks.loadgen0000000000000000"

typedef struct {
    int fd;
    bool subscriber, publisher;
    uint64_t received;  // bytes of publishes
    uint64_t owed, paid;  // bytes of the answer stream
    char head[4096];
    size_t head_length;
} Peer;

void null_server(int port, const char *mode, int size, int subscribers) {
    bool streams = strcmp(mode, "streaming") == 0;
    char *frame = memory((size_t)size + 1024), *answer = memory((size_t)size + 1024);
    size_t frame_length, answer_length, ack_prefix = 0, guid = 0;
    if (streams) {
        char *payload = memory((size_t)size + 1);
        fill_payload(payload, size);
        // As the generator's first connection publishes.
        frame_length = streaming_frame(frame, "null", "loadgen00", "bench", INBOX, payload, size, &guid, NULL);
        ack_prefix = streaming_ack(answer, INBOX, &answer_length);
        memcpy(answer + answer_length - 2, "\r\n", 2);
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
                    say(peer->fd, "MSG _INBOX.connect.loadgen00 2 20\r\n_STAN.subclose.null.\r\n");
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
