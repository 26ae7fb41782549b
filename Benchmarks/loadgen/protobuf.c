#define _GNU_SOURCE
#include "loadgen.h"

size_t varint(char *at, uint64_t value) {
    size_t length = 0;
    while (value >= 0x80) {
        at[length++] = (char)(value | 0x80);
        value >>= 7;
    }
    at[length++] = (char)value;
    return length;
}

size_t bytes_field(char *at, int field, const char *data, size_t size) {
    size_t length = varint(at, (uint64_t)field << 3 | 2);
    length += varint(at + length, size);
    memcpy(at + length, data, size);
    return length + size;
}

size_t number_field(char *at, int field, uint64_t value) {
    size_t length = varint(at, (uint64_t)field << 3);
    return length + varint(at + length, value);
}

void streaming_connect(int fd, const char *cluster, const char *name) {
    char message[512], inbox[64];
    size_t length = bytes_field(message, 1, name, strlen(name));
    int inbox_length = sprintf(inbox, "_INBOX.heartbeat.%s", name);
    length += bytes_field(message + length, 2, inbox, (size_t)inbox_length);
    length += number_field(message + length, 3, 1);
    length += bytes_field(message + length, 4, name, strlen(name));
    // The heartbeat interval is longer than a run: the inbox only has to exist.
    say(fd, "SUB %s 3\r\nSUB _INBOX.connect.%s 2\r\n", inbox, name);
    fence(fd);
    say(fd, "PUB _STAN.discover.%s _INBOX.connect.%s %zu\r\n", cluster, name, length);
    send_all(fd, message, length);
    send_all(fd, "\r\n", 2);
    // An error text begins with "stan:", a notice of no responders with NATS/1.0, a success names its subjects.
    char *answer = read_until_any(fd, "_STAN.subclose.", "stan:", "NATS/1.0 503");
    if (strstr(answer, "_STAN.subclose.") == NULL) die("the connect request was refused: %s", answer);
    fence(fd);
}
