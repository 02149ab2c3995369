/* The client of C under the sanitizers: threads, a child, bad input, an agent that goes away.
 * stress SOCKET early|late: four threads log 5,000 events each, a child 100, which is forked before the threads or among
 * them; prints the counts of the parent. The sanitizers' own allocators do not survive a fork among threads. */
#include "edgemon_client.h" /* its implementation is in client.c */

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

static edgemon_client *client;

static edgemon_prediction prediction(const char *model)
{
    edgemon_prediction made;
    memset(&made, 0, sizeof made);
    made.model = model;
    made.output = 0.5;
    return made;
}

static void *work(void *name)
{
    static const char *const names[] = {"a", "b\xc3\xbc"};
    int number;
    for (number = 0; number < 5000; number++) {
        double features[2];
        char id[16];
        edgemon_prediction made = prediction((const char *)name);
        features[0] = number;
        features[1] = NAN;
        snprintf(id, sizeof id, "%d", number);
        made.id = id;
        made.features = features;
        made.feature_names = number % 2 ? names : NULL;
        made.feature_count = 2;
        CHECK(edgemon_log(client, &made) == EDGEMON_OK);
    }
    return NULL;
}

static void bad_input(void)
{
    static const char *const bad[] = {"", "\x80", "\xc0\x80", "\xc3", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x80\x80\x80",
                                      "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xe2\x82", "a\xff"};
    static const char *const good[] = {"\xc2\x80", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"};
    static double many[9000];
    char long_name[258];
    edgemon_prediction made;
    edgemon_options options;
    edgemon_counts counts;
    size_t i, refused = 0;
    memset(&options, 0, sizeof options);
    options.socket = "/nowhere/at/all";
    options.buffer_bytes = 1 << 20;
    client = edgemon_open(&options);
    CHECK(client != NULL);
    for (i = 0; i < sizeof bad / sizeof *bad; i++, refused++) {
        made = prediction(bad[i]);
        CHECK(edgemon_log(client, &made) == EDGEMON_BAD_EVENT);
    }
    for (i = 0; i < sizeof good / sizeof *good; i++) {
        made = prediction(good[i]);
        CHECK(edgemon_log(client, &made) == EDGEMON_OK);
    }
    memset(long_name, 'x', 257);
    long_name[257] = '\0';
    made = prediction(long_name);
    CHECK(edgemon_log(client, &made) == EDGEMON_BAD_EVENT);
    made = prediction(long_name + 1);
    CHECK(edgemon_log(client, &made) == EDGEMON_OK);
    made = prediction(NULL);
    CHECK(edgemon_log(client, &made) == EDGEMON_BAD_EVENT);
    made = prediction("m");
    made.latency_s = INFINITY;
    CHECK(edgemon_log(client, &made) == EDGEMON_BAD_EVENT);
    made = prediction("m");
    made.output_vector = many;
    CHECK(edgemon_log(client, &made) == EDGEMON_BAD_EVENT); /* no number in it */
    made.output_length = 1024;
    CHECK(edgemon_log(client, &made) == EDGEMON_OK); /* 9 KiB: not on the stack */
    made = prediction("m");
    made.features = many;
    made.feature_count = 9000;
    CHECK(edgemon_log(client, &made) == EDGEMON_TOO_LARGE);
    made.feature_count = 7000;
    made.version = "7";
    made.ts = 1.5;
    CHECK(edgemon_log(client, &made) == EDGEMON_OK);
    CHECK(edgemon_truth(client, "m", NULL, 1, NULL) == EDGEMON_BAD_EVENT);
    CHECK(edgemon_truth(client, "m", "id", 1, "\xff") == EDGEMON_BAD_EVENT);
    CHECK(edgemon_error(client, "m", "", NULL) == EDGEMON_BAD_EVENT);
    CHECK(edgemon_metric(client, "", 1, NULL) == EDGEMON_BAD_EVENT);
    CHECK(edgemon_flush(client, EDGEMON_MEMORY, 0.0) == 0);
    edgemon_close(client, 60.0); /* nobody is there: at once */
    made = prediction("m");
    CHECK(edgemon_log(client, &made) == EDGEMON_CLOSED);
    edgemon_get_counts(client, &counts);
    CHECK(counts.dropped[EDGEMON_BAD_EVENT] == refused + 8);
    CHECK(counts.dropped[EDGEMON_CLOSED] == counts.taken + 1);
    edgemon_free(client);
    options.buffer_bytes = 1;
    CHECK(edgemon_open(&options) == NULL && errno == EINVAL);
    edgemon_free(NULL);
}

int main(int argc, char **argv)
{
    static char names[4][2] = {"a", "b", "c", "d"};
    pthread_t threads[4];
    edgemon_options options;
    edgemon_counts counts;
    int i, status, flushed, late;
    pid_t child;
    CHECK(argc == 3);
    bad_input();
    memset(&options, 0, sizeof options);
    options.socket = argv[1];
    options.buffer_bytes = 4 << 20;
    options.linger_s = 0.001;
    client = edgemon_open(&options);
    CHECK(client != NULL);
    late = strcmp(argv[2], "late") == 0;
    CHECK(edgemon_metric(client, "begun", 1, NULL) == EDGEMON_OK); /* its thread runs */
    CHECK(edgemon_flush(client, EDGEMON_MEMORY, 30.0) == 1);
    for (i = 0; late && i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, work, names[i]) == 0);
    child = fork();
    if (child == 0) {
        for (i = 0; i < 100; i++) {
            edgemon_prediction made = prediction("child");
            edgemon_log(client, &made);
        }
        flushed = edgemon_flush(client, EDGEMON_MEMORY, 30.0);
        edgemon_get_counts(client, &counts);
        _exit(flushed && counts.taken == 100 ? 0 : 1);
    }
    for (i = 0; !late && i < 4; i++)
        CHECK(pthread_create(&threads[i], NULL, work, names[i]) == 0);
    for (i = 0; i < 4; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    flushed = edgemon_flush(client, EDGEMON_MEMORY, 30.0);
    edgemon_get_counts(client, &counts);
    printf("%d %llu %llu %llu\n", flushed, (unsigned long long)counts.taken, (unsigned long long)counts.confirmed,
           (unsigned long long)counts.connections);
    edgemon_close(client, 1.0);
    edgemon_free(client);
    return 0;
}
