//   loadgen core PORT SIZE SUBSCRIBERS SECONDS       core publish; every byte that subscribers get is compared
//   loadgen request PORT SIZE SECONDS                request and reply, one at a time, both ends in this thread
//   loadgen streaming PORT SIZE WINDOW [KEY=VALUE…]  NATS Streaming publishes, every ack checked
//   loadgen jetstream PORT SIZE WINDOW [KEY=VALUE…]  the same against a JetStream stream
//   loadgen consume streaming|pull|ordered PORT SIZE WINDOW COUNT   reads what such a publish run stored
//   loadgen sync FILE SECONDS [RATE]                 4 KiB pwrite + fdatasync on a file that was written before; with a
//                                                    rate, 128 B come due so often, and each sync takes what is due
//   loadgen null PORT core SIZE SUBSCRIBERS          a server that does no work: what the generator itself can do
//   loadgen null PORT streaming SIZE                 (answers one session, then ends)
//
// Keys: seconds=2, warmup=0 (seconds before, which do not count), bytes=0 (end when so much payload is stored), connections=1, channels=1, rate=0 (messages a
// second, all connections together), json=0 (1: events of 374 B with five fresh UUIDs), cluster=bench, storage=file.
#include "loadgen.h"

static Work parse_work(char **words, int count) {
    Work work = {.port = atoi(words[2]), .size = atoi(words[3]), .window = strtoull(words[4], NULL, 10), .seconds = 2,
                 .connections = 1, .channels = 1, .cluster = "bench", .storage = "file"};
    for (int i = 5; i < count; i++) {
        char *value = strchr(words[i], '=');
        if (value == NULL) die("%s is not KEY=VALUE", words[i]);
        *value++ = 0;
        if (strcmp(words[i], "seconds") == 0) work.seconds = atof(value);
        else if (strcmp(words[i], "warmup") == 0) work.warmup = atof(value);
        else if (strcmp(words[i], "bytes") == 0) work.bytes = strtoull(value, NULL, 10);
        else if (strcmp(words[i], "connections") == 0) work.connections = atoi(value);
        else if (strcmp(words[i], "channels") == 0) work.channels = atoi(value);
        else if (strcmp(words[i], "rate") == 0) work.rate = atof(value);
        else if (strcmp(words[i], "json") == 0) work.json = atoi(value) != 0;
        else if (strcmp(words[i], "cluster") == 0) work.cluster = value;
        else if (strcmp(words[i], "storage") == 0) work.storage = value;
        else die("there is no key %s", words[i]);
    }
    if (work.connections < 1 || work.connections > MAX_CONNECTIONS) die("1 to %d connections", MAX_CONNECTIONS);
    if (work.channels < 1 || work.channels > 10000) die("1 to 10,000 channels");
    if (work.window < 1) die("a window of at least 1");
    return work;
}

int main(int count, char **words) {
    const char *mode = count > 1 ? words[1] : "";
    if (strcmp(mode, "core") == 0 && count == 6)
        core(atoi(words[2]), atoi(words[3]), atoi(words[4]), atof(words[5]));
    else if (strcmp(mode, "request") == 0 && count == 5)
        request(atoi(words[2]), atoi(words[3]), atof(words[4]));
    else if ((strcmp(mode, "streaming") == 0 || strcmp(mode, "jetstream") == 0) && count >= 5) {
        Work work = parse_work(words, count);
        if (strcmp(mode, "streaming") == 0) publish_streaming(&work);
        else publish_jetstream(&work);
    } else if (strcmp(mode, "consume") == 0 && count == 7) {
        Work work = {.port = atoi(words[3]), .size = atoi(words[4]), .window = strtoull(words[5], NULL, 10), .cluster = "bench"};
        uint64_t messages = strtoull(words[6], NULL, 10);
        if (strcmp(words[2], "streaming") == 0) consume_streaming(&work, messages);
        else if (strcmp(words[2], "pull") == 0) consume_pull(&work, messages);
        else if (strcmp(words[2], "ordered") == 0) consume_ordered(&work, messages);
        else die("consume streaming, pull or ordered");
    } else if (strcmp(mode, "sync") == 0 && (count == 4 || count == 5))
        sync_rate(words[2], atof(words[3]), count == 5 ? atof(words[4]) : 0);
    else if (strcmp(mode, "null") == 0 && (count == 5 || count == 6))
        null_server(atoi(words[2]), words[3], atoi(words[4]), count == 6 ? atoi(words[5]) : 0);
    else
        die("what to do? See the head of Benchmarks/loadgen/main.c");
    return 0;
}
