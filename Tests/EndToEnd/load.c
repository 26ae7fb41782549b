// Publisher and subscriber of the kill tests, with libnats as any application uses it: they connect once and
// never again; what happens while the broker is away is the library's reconnect and nothing else.
//
// load publish URL CLUSTER CLIENT CHANNELS COUNT FIRST IN_FLIGHT FILE
//     publishes messages FIRST … FIRST+COUNT-1 round-robin on channels load.0 … ; prints "acked N" as it goes;
//     at the end FILE has one byte a message: 'a' acknowledged, 'e' refused or timed out, 'n' not sent.
// load subscribe URL CLUSTER CLIENT CHANNELS QUEUE DURABLE FILE
//     durable queue subscriber; on a line "report" it writes FILE (lines: channel sequence index redelivered)
//     and prints "reported"; on end of input it closes.
//
// A message is its index (8 bytes, little endian) and a token made from the index, repeated to a length that follows
// from the index: the audit can tell every altered byte.
#include <nats/nats.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LARGEST = 1024, CHANNELS = 64 };

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

#define OK(call)                                                                                             \
    do {                                                                                                     \
        natsStatus status_ = (call);                                                                         \
        if (status_ != NATS_OK) fail("%s: %s (%s)", #call, natsStatus_GetText(status_), nats_GetLastError(NULL)); \
    } while (0)

static size_t make_message(uint64_t index, unsigned char *data) {
    uint64_t token = index * 0x9e3779b97f4a7c15u + 1;
    size_t length = 8 + (size_t)(index * 2654435761u % (LARGEST - 8));
    memcpy(data, &index, 8);
    for (size_t i = 8; i < length; i++) data[i] = (unsigned char)(token >> (i % 8 * 8));
    return length;
}

// The index of an unaltered message; fails on any other.
static uint64_t check_message(const unsigned char *data, size_t length) {
    unsigned char expected[LARGEST];
    uint64_t index;
    if (length < 8) fail("a message of %zu bytes came", length);
    memcpy(&index, data, 8);
    if (make_message(index, expected) != length || memcmp(expected, data, length) != 0)
        fail("message %llu came altered", (unsigned long long)index);
    return index;
}

static void on_lost(stanConnection *sc, const char *error, void *closure) {
    (void)sc;
    (void)closure;
    fail("the streaming connection was lost: %s", error);
}

static stanConnection *connect_as(const char *url, const char *cluster, const char *client, int in_flight) {
    stanConnection *sc = NULL;
    stanConnOptions *options = NULL;
    natsOptions *nats = NULL;
    OK(natsOptions_Create(&nats));
    OK(natsOptions_SetURL(nats, url));
    OK(natsOptions_SetMaxReconnect(nats, 100000));
    OK(natsOptions_SetReconnectWait(nats, 10));
    OK(natsOptions_SetTimeout(nats, 120000));
    OK(stanConnOptions_Create(&options));
    OK(stanConnOptions_SetNATSOptions(options, nats));
    OK(stanConnOptions_SetConnectionWait(options, 120000));
    OK(stanConnOptions_SetPubAckWait(options, 10000));
    OK(stanConnOptions_SetPings(options, 5, 60));
    OK(stanConnOptions_SetConnectionLostHandler(options, on_lost, NULL));
    if (in_flight > 0) OK(stanConnOptions_SetMaxPubAcksInflight(options, in_flight, 1.0f));
    OK(stanConnection_Connect(&sc, cluster, client, options));
    stanConnOptions_Destroy(options);
    natsOptions_Destroy(nats);
    return sc;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static char *fates;
static uint64_t resolved, acknowledged;

static void on_ack(const char *guid, const char *error, void *closure) {
    (void)guid;
    pthread_mutex_lock(&mutex);
    fates[(size_t)closure] = error == NULL ? 'a' : 'e';
    resolved++;
    if (error == NULL && ++acknowledged % 500 == 0) {
        printf("acked %llu\n", (unsigned long long)acknowledged);
        fflush(stdout);
    }
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
}

static void publish(char **words) {
    int channels = atoi(words[3]), in_flight = atoi(words[6]);
    uint64_t count = strtoull(words[4], NULL, 10), first = strtoull(words[5], NULL, 10), sent = 0;
    fates = malloc(count);
    memset(fates, 'n', count);
    stanConnection *sc = connect_as(words[0], words[1], words[2], in_flight);
    struct timespec pause = {0, 1000000};
    for (uint64_t i = 0; i < count; i++) {
        unsigned char data[LARGEST];
        char channel[32];
        size_t length = make_message(first + i, data);
        snprintf(channel, sizeof channel, "load.%d", (int)((first + i) % (uint64_t)channels));
        natsStatus status;
        // While the broker is away the library buffers some and then refuses: this waits until it takes more.
        while ((status = stanConnection_PublishAsync(sc, channel, data, (int)length, on_ack, (void *)(size_t)i)) ==
               NATS_INSUFFICIENT_BUFFER)
            nanosleep(&pause, NULL);
        if (status == NATS_OK) sent++;
    }
    pthread_mutex_lock(&mutex);
    while (resolved < sent) pthread_cond_wait(&changed, &mutex);
    pthread_mutex_unlock(&mutex);
    FILE *file = fopen(words[7], "wb");
    if (file == NULL || fwrite(fates, 1, count, file) != count || fclose(file) != 0) fail("%s was not written", words[7]);
    printf("finished %llu\n", (unsigned long long)acknowledged);
    fflush(stdout);
    // Whoever finishes before the last kill would lose the request to close with the broker.
    while (getchar() != EOF) continue;
    // A connection that is away just then could not ask: not before the broker answered on it.
    natsConnection *nats = NULL;
    OK(stanConnection_GetNATSConnection(sc, &nats));
    while (natsConnection_FlushTimeout(nats, 1000) != NATS_OK) nanosleep(&pause, NULL);
    stanConnection_ReleaseNATSConnection(sc);
    OK(stanConnection_Close(sc));
    stanConnection_Destroy(sc);
}

typedef struct {
    uint64_t sequence, index;
    int channel;
    bool redelivered;
} Delivery;
static Delivery *deliveries;
static size_t delivered, capacity;

static void on_message(stanConnection *sc, stanSubscription *sub, const char *channel, stanMsg *msg, void *closure) {
    (void)sc;
    (void)sub;
    (void)channel;
    uint64_t index = check_message((const unsigned char *)stanMsg_GetData(msg), (size_t)stanMsg_GetDataLength(msg));
    pthread_mutex_lock(&mutex);
    if (delivered == capacity) {
        capacity = capacity ? capacity * 2 : 1 << 16;
        deliveries = realloc(deliveries, capacity * sizeof *deliveries);
    }
    deliveries[delivered++] = (Delivery){stanMsg_GetSequence(msg), index, (int)(size_t)closure, stanMsg_IsRedelivered(msg)};
    pthread_mutex_unlock(&mutex);
    stanMsg_Destroy(msg);
}

static void subscribe(char **words) {
    int channels = atoi(words[3]);
    stanConnection *sc = connect_as(words[0], words[1], words[2], 0);
    stanSubOptions *options = NULL;
    stanSubscription *subs[CHANNELS];
    OK(stanSubOptions_Create(&options));
    OK(stanSubOptions_SetDurableName(options, words[5]));
    OK(stanSubOptions_SetAckWait(options, 1000));
    OK(stanSubOptions_DeliverAllAvailable(options));
    for (int i = 0; i < channels; i++) {
        char channel[32];
        snprintf(channel, sizeof channel, "load.%d", i);
        OK(stanConnection_QueueSubscribe(&subs[i], sc, channel, words[4], on_message, (void *)(size_t)i, options));
    }
    stanSubOptions_Destroy(options);
    puts("subscribed");
    fflush(stdout);
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        FILE *file = fopen(words[6], "w");
        if (file == NULL) fail("%s was not written", words[6]);
        pthread_mutex_lock(&mutex);
        for (size_t i = 0; i < delivered; i++)
            fprintf(file, "%d %llu %llu %d\n", deliveries[i].channel, (unsigned long long)deliveries[i].sequence,
                    (unsigned long long)deliveries[i].index, deliveries[i].redelivered);
        pthread_mutex_unlock(&mutex);
        fclose(file);
        puts("reported");
        fflush(stdout);
    }
    for (int i = 0; i < channels; i++) stanSubscription_Destroy(subs[i]);
    OK(stanConnection_Close(sc));
    stanConnection_Destroy(sc);
}

int main(int count, char **words) {
    OK(nats_Open(-1));
    if (count == 10 && strcmp(words[1], "publish") == 0)
        publish(words + 2);
    else if (count == 9 && strcmp(words[1], "subscribe") == 0 && atoi(words[5]) <= CHANNELS)
        subscribe(words + 2);
    else
        fail("see the head of load.c");
    return 0;
}
