// libnats, the NATS client for C, unchanged, against the broker's streaming side.
//
// checks --list                 one line a check: name, store, broker flags (tab-separated)
// checks NAME URL CLUSTER       runs one check; exit 0 when it holds, 1 with a message when not
//
// A check that needs the broker killed and started again prints RESTART and waits for a line on standard input; one that
// has the driver watch the heartbeats of its idle client prints HEARTBEATS and waits likewise.
#include <nats/nats.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *url, *cluster;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

// Fails unless the call's status is the expected one.
#define EXPECT(expected, call)                                                                         \
    do {                                                                                               \
        natsStatus status_ = (call);                                                                   \
        if (status_ != (expected))                                                                     \
            fail("%s:%d: %s: %s (%s), expected %s", __FILE__, __LINE__, #call, natsStatus_GetText(status_), \
                 nats_GetLastError(NULL), natsStatus_GetText(expected));                               \
    } while (0)
#define OK(call) EXPECT(NATS_OK, call)
#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) fail("%s:%d: not so: %s", __FILE__, __LINE__, #condition); \
    } while (0)

// What came in, seen by the waiting main thread.
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

#define MOST 200000
typedef struct {
    uint64_t sequence;
    bool redelivered;
    char data[16];
    int length;
} Received;

typedef struct {
    Received *messages;
    int count;
    stanMsg *kept;  // the last message, when `keep` is on (manual acks)
    bool acks;      // acknowledge by hand after `skip` messages
    int skip;
} Inbox;

static int received_in_all;

static Inbox *inbox_create(void) {
    Inbox *inbox = calloc(1, sizeof *inbox);
    inbox->messages = calloc(MOST, sizeof *inbox->messages);
    return inbox;
}

static void on_message(stanConnection *sc, stanSubscription *sub, const char *channel, stanMsg *msg, void *closure) {
    (void)sc;
    (void)channel;
    Inbox *inbox = closure;
    pthread_mutex_lock(&mutex);
    received_in_all++;
    if (inbox->count < MOST) {
        Received *received = &inbox->messages[inbox->count++];
        received->sequence = stanMsg_GetSequence(msg);
        received->redelivered = stanMsg_IsRedelivered(msg);
        received->length = stanMsg_GetDataLength(msg);
        int kept = received->length < 15 ? received->length : 15;
        if (kept > 0) memcpy(received->data, stanMsg_GetData(msg), (size_t)kept);
    }
    bool ack = inbox->acks && inbox->count > inbox->skip;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
    if (ack) stanSubscription_AckMsg(sub, msg);
    stanMsg_Destroy(msg);
}

// Waits until `*value` is at least `count`; the limit is far above what any machine needs.
static void wait_for(const int *value, int count, const char *what) {
    enum { PATIENCE = 120 };
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE;
    pthread_mutex_lock(&mutex);
    while (*value < count)
        if (pthread_cond_timedwait(&changed, &mutex, &until) != 0)
            fail("waited %d s for %d %s, have %d", PATIENCE, count, what, *value);
    pthread_mutex_unlock(&mutex);
}

static void wait_messages(Inbox *inbox, int count) { wait_for(&inbox->count, count, "messages"); }

static stanConnection *connect_with(const char *client, stanConnOptions *options) {
    stanConnection *sc = NULL;
    stanConnOptions *mine = NULL;
    natsOptions *nats = NULL;
    if (options == NULL) OK(stanConnOptions_Create(&mine));
    if (options == NULL) options = mine;
    OK(natsOptions_Create(&nats));
    OK(natsOptions_SetURL(nats, url));
    OK(natsOptions_SetMaxReconnect(nats, 10000));
    OK(natsOptions_SetReconnectWait(nats, 20));
    OK(natsOptions_SetTimeout(nats, 120000));
    OK(stanConnOptions_SetNATSOptions(options, nats));
    OK(stanConnOptions_SetConnectionWait(options, 120000));
    OK(stanConnOptions_SetPubAckWait(options, 120000));
    natsOptions_Destroy(nats);
    OK(stanConnection_Connect(&sc, cluster, client, options));
    stanConnOptions_Destroy(mine);
    return sc;
}

static stanConnection *connect_as(const char *client) { return connect_with(client, NULL); }

static void leave(stanConnection *sc) {
    OK(stanConnection_Close(sc));
    stanConnection_Destroy(sc);
}

static void publish_numbers(stanConnection *sc, const char *channel, int from, int to) {
    for (int number = from; number <= to; number++) {
        char data[16];
        int length = snprintf(data, sizeof data, "%d", number);
        natsStatus status;
        // While the broker is away the library may have no room to buffer: it says so, and takes it a little later.
        while ((status = stanConnection_Publish(sc, channel, data, length)) == NATS_INSUFFICIENT_BUFFER) nats_Sleep(5);
        OK(status);
    }
}

static int acked, refused;
static void on_ack(const char *guid, const char *error, void *closure) {
    (void)guid;
    (void)closure;
    pthread_mutex_lock(&mutex);
    if (error != NULL) {
        if (refused++ == 0) fprintf(stderr, "publish refused: %s\n", error);
    } else {
        acked++;
    }
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void publish_async(stanConnection *sc, const char *channel, int from, int to) {
    for (int number = from; number <= to; number++) {
        char data[16];
        int length = snprintf(data, sizeof data, "%d", number);
        OK(stanConnection_PublishAsync(sc, channel, data, length, on_ack, NULL));
    }
}

// Starts a subscription. `set` fills in the options.
static stanSubscription *subscribe(stanConnection *sc, const char *channel, const char *queue, Inbox *inbox,
                                   stanSubOptions *options) {
    stanSubscription *sub = NULL;
    if (queue != NULL)
        OK(stanConnection_QueueSubscribe(&sub, sc, channel, queue, on_message, inbox, options));
    else
        OK(stanConnection_Subscribe(&sub, sc, channel, on_message, inbox, options));
    return sub;
}

static stanSubOptions *options(void) {
    stanSubOptions *created = NULL;
    OK(stanSubOptions_Create(&created));
    return created;
}

static void expect_range(Inbox *inbox, uint64_t first, uint64_t last) {
    int count = (int)(last - first + 1);
    wait_messages(inbox, count);
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < count; i++) {
        if (inbox->messages[i].sequence != first + (uint64_t)i)
            fail("message %d has sequence %llu, expected %llu", i, (unsigned long long)inbox->messages[i].sequence,
                 (unsigned long long)(first + (uint64_t)i));
    }
    pthread_mutex_unlock(&mutex);
}

// The same for a durable that resumes: the client acknowledges behind the callback, so that the last messages of the
// round before may come again in front.
static void expect_range_resumed(Inbox *inbox, uint64_t first, uint64_t last) {
    int again = 0;
    int count = (int)(last - first + 1);
    for (;;) {
        wait_messages(inbox, again + count);
        pthread_mutex_lock(&mutex);
        int older = 0;
        while (older < again + count && inbox->messages[older].sequence < first) older++;
        if (older == again) break;
        again = older;
        pthread_mutex_unlock(&mutex);
    }
    for (int i = 0; i < count; i++) {
        if (inbox->messages[again + i].sequence != first + (uint64_t)i)
            fail("message %d has sequence %llu, expected %llu", again + i,
                 (unsigned long long)inbox->messages[again + i].sequence, (unsigned long long)(first + (uint64_t)i));
    }
    pthread_mutex_unlock(&mutex);
}

static void ask_driver(const char *what) {
    char line[64];
    puts(what);
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL) fail("the driver went away");
}

// The checks

static void connects_and_closes(void) {
    leave(connect_as("a"));
    leave(connect_as("a"));
}

static void refuses_a_live_client_id(void) {
    // A live client has the protocol's 500 ms to answer: an attempt that took longer says nothing, and is made again.
    for (int attempt = 0; attempt < 50; attempt++) {
        char client[16];
        snprintf(client, sizeof client, "taken-%d", attempt);
        stanConnection *first = connect_as(client), *second = NULL;
        stanConnOptions *copts = NULL;
        OK(stanConnOptions_Create(&copts));
        OK(stanConnOptions_SetURL(copts, url));
        OK(stanConnOptions_SetConnectionWait(copts, 120000));
        int64_t started = nats_Now();
        natsStatus status = stanConnection_Connect(&second, cluster, client, copts);
        stanConnOptions_Destroy(copts);
        if (status != NATS_OK) {
            CHECK(strstr(nats_GetLastError(NULL), "clientID already registered") != NULL);
            leave(first);
            return;
        }
        CHECK(nats_Now() - started >= 500);
        stanConnection_Destroy(second);
        stanConnection_Destroy(first);
    }
    fail("this machine never answered within 500 ms");
}

static void a_wrong_cluster_is_an_error(void) {
    stanConnection *sc = NULL;
    stanConnOptions *copts = NULL;
    OK(stanConnOptions_Create(&copts));
    OK(stanConnOptions_SetURL(copts, url));
    OK(stanConnOptions_SetConnectionWait(copts, 500));
    CHECK(stanConnection_Connect(&sc, "no-such-cluster", "a", copts) != NATS_OK);
    stanConnOptions_Destroy(copts);
}

static void publishes_and_waits(void) {
    stanConnection *sc = connect_as("a");
    Inbox *inbox = inbox_create();
    stanSubscription *sub = subscribe(sc, "foo", NULL, inbox, NULL);
    publish_numbers(sc, "foo", 1, 100);
    expect_range(inbox, 1, 100);
    CHECK(strcmp(inbox->messages[41].data, "42") == 0);
    CHECK(!inbox->messages[0].redelivered);
    OK(stanSubscription_Unsubscribe(sub));
    stanSubscription_Destroy(sub);
    leave(sc);
}

static void publishes_async_and_gets_every_ack(void) {
    stanConnection *sc = connect_as("a");
    publish_async(sc, "foo", 1, 50000);
    wait_for(&acked, 50000, "acks");
    CHECK(refused == 0);
    Inbox *inbox = inbox_create();
    stanSubOptions *opts = options();
    OK(stanSubOptions_DeliverAllAvailable(opts));
    stanSubscription *sub = subscribe(sc, "foo", NULL, inbox, opts);
    expect_range(inbox, 1, 50000);
    stanSubOptions_Destroy(opts);
    stanSubscription_Destroy(sub);
    leave(sc);
}

static void refuses_an_invalid_channel(void) {
    stanConnection *sc = connect_as("a");
    CHECK(stanConnection_Publish(sc, "foo.*", "x", 1) != NATS_OK);
    stanSubscription *sub = NULL;
    CHECK(stanConnection_Subscribe(&sub, sc, "foo.>", on_message, NULL, NULL) != NATS_OK);
    leave(sc);
}

static void starts_at_every_position(void) {
    stanConnection *sc = connect_as("a");
    publish_numbers(sc, "foo", 1, 10);
    struct {
        const char *what;
        uint64_t first;
    } cases[] = {{"new", 11}, {"last", 10}, {"all", 1}, {"sequence", 4}, {"hour", 1}, {"time", 1}};
    stanSubscription *subs[6];
    Inbox *inboxes[6];
    for (int i = 0; i < 6; i++) {
        stanSubOptions *opts = options();
        inboxes[i] = inbox_create();
        switch (i) {
        case 1: OK(stanSubOptions_StartWithLastReceived(opts)); break;
        case 2: OK(stanSubOptions_DeliverAllAvailable(opts)); break;
        case 3: OK(stanSubOptions_StartAtSequence(opts, 4)); break;
        case 4: OK(stanSubOptions_StartAtTimeDelta(opts, 3600 * 1000)); break;
        case 5: OK(stanSubOptions_StartAtTime(opts, (int64_t)(time(NULL) - 3600) * 1000)); break;
        }
        subs[i] = subscribe(sc, "foo", NULL, inboxes[i], opts);
        stanSubOptions_Destroy(opts);
    }
    publish_numbers(sc, "foo", 11, 12);
    for (int i = 0; i < 6; i++) {
        fprintf(stderr, "start position: %s\n", cases[i].what);
        expect_range(inboxes[i], cases[i].first, 12);
        stanSubscription_Destroy(subs[i]);
    }
    leave(sc);
}

static void redelivers_what_is_not_acked(void) {
    stanConnection *sc = connect_as("a");
    Inbox *inbox = inbox_create();
    inbox->acks = true;
    inbox->skip = 5;  // the first five are not acknowledged
    stanSubOptions *opts = options();
    OK(stanSubOptions_SetManualAckMode(opts, true));
    OK(stanSubOptions_SetAckWait(opts, 1000));
    stanSubscription *sub = subscribe(sc, "foo", NULL, inbox, opts);
    publish_numbers(sc, "foo", 1, 8);
    wait_messages(inbox, 13);
    // The first five come again, in order; where the machine was slow, between the last of the eight.
    uint64_t again = 0;
    for (int i = 0; again < 5; i++) {
        wait_messages(inbox, i + 1);
        if (inbox->messages[i].redelivered && inbox->messages[i].sequence == again + 1) again++;
    }
    stanSubOptions_Destroy(opts);
    stanSubscription_Destroy(sub);
    leave(sc);
}

static void keeps_max_in_flight(void) {
    stanConnection *sc = connect_as("a");
    Inbox *inbox = inbox_create();
    stanSubOptions *opts = options();
    OK(stanSubOptions_SetManualAckMode(opts, true));
    OK(stanSubOptions_SetMaxInflight(opts, 3));
    stanSubscription *sub = subscribe(sc, "foo", NULL, inbox, opts);
    publish_numbers(sc, "foo", 1, 10);
    wait_messages(inbox, 3);
    // A round trip behind the last publish: anything more would have come before it.
    Inbox *other = inbox_create();
    stanSubscription *second = subscribe(sc, "bar", NULL, other, NULL);
    publish_numbers(sc, "bar", 1, 1);
    wait_messages(other, 1);
    CHECK(inbox->count == 3);
    stanSubOptions_Destroy(opts);
    stanSubscription_Destroy(sub);
    stanSubscription_Destroy(second);
    leave(sc);
}

static void resumes_a_durable(void) {
    for (int round = 0; round < 3; round++) {
        stanConnection *sc = connect_as("me");
        Inbox *inbox = inbox_create();
        stanSubOptions *opts = options();
        OK(stanSubOptions_SetDurableName(opts, "dur"));
        stanSubscription *sub = subscribe(sc, "foo", NULL, inbox, opts);
        publish_numbers(sc, "foo", round * 10 + 1, round * 10 + 10);
        expect_range_resumed(inbox, (uint64_t)(round * 10 + 1), (uint64_t)(round * 10 + 10));
        stanSubOptions_Destroy(opts);
        if (round == 1) OK(stanSubscription_Close(sub));
        stanSubscription_Destroy(sub);
        leave(sc);
    }
}

static void unsubscribing_a_durable_forgets_it(void) {
    stanConnection *sc = connect_as("me");
    stanSubOptions *opts = options();
    OK(stanSubOptions_SetDurableName(opts, "dur"));
    OK(stanSubOptions_DeliverAllAvailable(opts));
    publish_numbers(sc, "foo", 1, 5);
    for (int round = 0; round < 2; round++) {
        Inbox *inbox = inbox_create();
        stanSubscription *sub = subscribe(sc, "foo", NULL, inbox, opts);
        expect_range(inbox, 1, 5);
        OK(stanSubscription_Unsubscribe(sub));
        stanSubscription_Destroy(sub);
    }
    stanSubOptions_Destroy(opts);
    leave(sc);
}

static void shares_a_queue_group(void) {
    stanConnection *one = connect_as("one"), *two = connect_as("two");
    Inbox *inboxes[2] = {inbox_create(), inbox_create()};
    stanSubscription *first = subscribe(one, "foo", "workers", inboxes[0], NULL);
    stanSubscription *second = subscribe(two, "foo", "workers", inboxes[1], NULL);
    publish_async(one, "foo", 1, 1000);
    wait_for(&acked, 1000, "acks");
    bool *seen = calloc(1001, sizeof *seen);
    wait_for(&received_in_all, 1000, "messages in both");
    CHECK(inboxes[0]->count + inboxes[1]->count == 1000);
    CHECK(inboxes[0]->count > 50 && inboxes[1]->count > 50);
    for (int member = 0; member < 2; member++)
        for (int i = 0; i < inboxes[member]->count; i++) {
            uint64_t sequence = inboxes[member]->messages[i].sequence;
            CHECK(sequence >= 1 && sequence <= 1000 && !seen[sequence]);
            seen[sequence] = true;
        }
    stanSubscription_Destroy(first);
    stanSubscription_Destroy(second);
    leave(one);
    leave(two);
}

static void a_durable_group_waits_for_its_members(void) {
    stanSubOptions *opts = options();
    OK(stanSubOptions_SetDurableName(opts, "dur"));
    stanConnection *one = connect_as("one");
    Inbox *inbox = inbox_create();
    stanSubscription *sub = subscribe(one, "foo", "workers", inbox, opts);
    publish_numbers(one, "foo", 1, 5);
    expect_range(inbox, 1, 5);
    stanSubscription_Destroy(sub);
    leave(one);
    stanConnection *two = connect_as("two");
    publish_numbers(two, "foo", 6, 8);
    inbox = inbox_create();
    sub = subscribe(two, "foo", "workers", inbox, opts);
    expect_range_resumed(inbox, 6, 8);
    OK(stanSubscription_Unsubscribe(sub));
    stanSubscription_Destroy(sub);
    stanSubOptions_Destroy(opts);
    leave(two);
}

static void a_duplicate_durable_is_an_error(void) {
    stanConnection *sc = connect_as("me");
    stanSubOptions *opts = options();
    OK(stanSubOptions_SetDurableName(opts, "dur"));
    Inbox *inbox = inbox_create();
    stanSubscription *sub = subscribe(sc, "foo", NULL, inbox, opts), *second = NULL;
    CHECK(stanConnection_Subscribe(&second, sc, "foo", on_message, inbox, opts) != NATS_OK);
    CHECK(strstr(nats_GetLastError(NULL), "duplicate durable registration") != NULL);
    stanSubscription_Destroy(sub);
    stanSubOptions_Destroy(opts);
    leave(sc);
}

static void carries_large_and_empty_messages(void) {
    stanConnection *sc = connect_as("a");
    Inbox *inbox = inbox_create();
    stanSubscription *sub = subscribe(sc, "foo", NULL, inbox, NULL);
    static char block[1000000];
    memset(block, 'x', sizeof block);
    for (int i = 0; i < 20; i++) OK(stanConnection_Publish(sc, "foo", block, sizeof block));
    OK(stanConnection_Publish(sc, "foo", NULL, 0));
    expect_range(inbox, 1, 21);
    CHECK(inbox->messages[7].length == 1000000);
    CHECK(inbox->messages[20].length == 0);
    stanSubscription_Destroy(sub);
    leave(sc);
}

static int lost;
static void on_lost(stanConnection *sc, const char *error, void *closure) {
    (void)sc;
    (void)closure;
    fprintf(stderr, "connection lost: %s\n", error);
    pthread_mutex_lock(&mutex);
    lost++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&mutex);
}

static void stays_connected_over_a_kill(void) {
    stanConnOptions *copts = NULL;
    OK(stanConnOptions_Create(&copts));
    OK(stanConnOptions_SetPings(copts, 1, 60));
    OK(stanConnOptions_SetConnectionLostHandler(copts, on_lost, NULL));
    stanConnection *sc = connect_with("me", copts);
    Inbox *durable = inbox_create(), *plain = inbox_create(), *group = inbox_create();
    stanSubOptions *opts = options();
    OK(stanSubOptions_SetDurableName(opts, "dur"));
    stanSubscription *subs[3] = {subscribe(sc, "foo", NULL, durable, opts), subscribe(sc, "foo", NULL, plain, NULL),
                                 subscribe(sc, "foo", "workers", group, opts)};
    publish_numbers(sc, "foo", 1, 100);
    expect_range(durable, 1, 100);
    expect_range(plain, 1, 100);
    expect_range(group, 1, 100);
    ask_driver("RESTART");
    publish_numbers(sc, "foo", 101, 200);
    // Some of the first hundred may come again (their acks were on the way): look for the second hundred in each.
    Inbox *inboxes[3] = {durable, plain, group};
    for (int which = 0; which < 3; which++) {
        bool seen[201] = {false};
        int found = 0, next = 0;
        while (found < 200) {
            wait_messages(inboxes[which], next + 1);
            uint64_t sequence = inboxes[which]->messages[next].sequence;
            CHECK(sequence >= 1 && sequence <= 200);
            if (!seen[sequence]) found++;
            seen[sequence] = true;
            next++;
        }
    }
    CHECK(lost == 0);
    for (int i = 0; i < 3; i++) stanSubscription_Destroy(subs[i]);
    stanSubOptions_Destroy(opts);
    stanConnOptions_Destroy(copts);
    leave(sc);
}

static void learns_that_a_memory_store_forgot_it(void) {
    stanConnOptions *copts = NULL;
    OK(stanConnOptions_Create(&copts));
    OK(stanConnOptions_SetPings(copts, 1, 60));
    OK(stanConnOptions_SetConnectionLostHandler(copts, on_lost, NULL));
    stanConnection *sc = connect_with("me", copts);
    publish_numbers(sc, "foo", 1, 3);
    ask_driver("RESTART");
    wait_for(&lost, 1, "lost connections");
    stanConnOptions_Destroy(copts);
    stanConnection_Destroy(sc);
}

static void answers_heartbeats(void) {
    stanConnection *sc = connect_as("me");
    Inbox *inbox = inbox_create();
    stanSubscription *sub = subscribe(sc, "foo", NULL, inbox, NULL);
    publish_numbers(sc, "foo", 1, 10);
    expect_range(inbox, 1, 10);
    ask_driver("HEARTBEATS");
    publish_numbers(sc, "foo", 11, 15);
    expect_range(inbox, 1, 15);
    stanSubscription_Destroy(sub);
    leave(sc);
}

static const struct {
    const char *name, *store, *flags;
    void (*run)(void);
} checks[] = {
#define MEMORY(name) {#name, "memory", "", name}
#define STORED(name) {#name, "file", "", name}
    MEMORY(connects_and_closes),
    MEMORY(refuses_a_live_client_id),
    MEMORY(a_wrong_cluster_is_an_error),
    MEMORY(publishes_and_waits),
    STORED(publishes_async_and_gets_every_ack),
    MEMORY(refuses_an_invalid_channel),
    MEMORY(starts_at_every_position),
    MEMORY(redelivers_what_is_not_acked),
    MEMORY(keeps_max_in_flight),
    STORED(resumes_a_durable),
    MEMORY(unsubscribing_a_durable_forgets_it),
    MEMORY(shares_a_queue_group),
    STORED(a_durable_group_waits_for_its_members),
    MEMORY(a_duplicate_durable_is_an_error),
    STORED(carries_large_and_empty_messages),
    STORED(stays_connected_over_a_kill),
    MEMORY(learns_that_a_memory_store_forgot_it),
    // No failure is allowed, and the next heartbeat goes out when the one before was answered.
    {"answers_heartbeats", "memory", "-hbi 50ms -hbt 1h -hbf 0", answers_heartbeats},
};

int main(int count, char **arguments) {
    const int known = sizeof checks / sizeof checks[0];
    if (count == 2 && strcmp(arguments[1], "--list") == 0) {
        for (int i = 0; i < known; i++) printf("%s\t%s\t%s\n", checks[i].name, checks[i].store, checks[i].flags);
        return 0;
    }
    if (count != 4) fail("usage: checks --list | checks NAME URL CLUSTER");
    url = arguments[2];
    cluster = arguments[3];
    for (int i = 0; i < known; i++)
        if (strcmp(checks[i].name, arguments[1]) == 0) {
            OK(nats_Open(-1));
            checks[i].run();
            return 0;
        }
    fail("no check is named %s", arguments[1]);
}
