/* edgemon_client.h: hand predictions to the edgemon agent from C or C++. One file, no dependency but POSIX threads; Linux.
 *
 * In exactly one source file:
 *
 *     #define EDGEMON_CLIENT_IMPLEMENTATION
 *     #include "edgemon_client.h"
 *
 * and in the others the include alone. C99 or newer, C++11 or newer. docs/protocol.md has a whole program.
 *
 * What it promises the application:
 * - edgemon_log, edgemon_truth and edgemon_metric never wait: an event is copied into a ring of stated size under a
 *   lock that is held for a copy, or it is dropped and counted by reason. Once the ring holds 16 KiB the caller's own
 *   thread hands them to the kernel with one send that cannot block; a quiet application's events are sent by a thread of
 *   the client, `linger_s` after they came. That thread is started by the first event, takes no signals and sleeps when
 *   there is nothing to do. No SIGPIPE. Nothing is allocated after edgemon_open but that thread's stack.
 * - The agent may be absent, stopped, restarted or killed at any time: the client connects anew, after 50 ms at first and
 *   4 s at last. Only whole events go to a new connection, and an event that one agent has taken whole is never sent
 *   again: each arrives at most once. What a connection took and did not confirm before it ended is `unconfirmed`.
 * - A child made by fork() starts with an empty ring and a connection of its own; the parent's events stay the parent's.
 * - All functions may be called by any thread at once, but for edgemon_free, which must be the last.
 *
 * Memory: buffer_bytes * 9 / 8 and some 70 KiB, taken by edgemon_open. Strings are UTF-8 and checked.
 */
#ifndef EDGEMON_CLIENT_H
#define EDGEMON_CLIENT_H

#if defined(__STRICT_ANSI__) && !defined(_GNU_SOURCE) && !defined(_POSIX_C_SOURCE)
#define _POSIX_C_SOURCE 200809L /* -std=c99 hides what this needs; an include before this one may have settled it */
#endif

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EDGEMON_DEFAULT_SOCKET "/run/edgemon/ingest.sock"
#define EDGEMON_FRAME_MAX 65536u /* bytes of one event: the agent's own default */

typedef struct edgemon_client edgemon_client;

/* Zero stands for the default. */
typedef struct edgemon_options {
    const char *socket;  /* the agent's socket; NULL: $EDGEMON_SOCKET, else EDGEMON_DEFAULT_SOCKET */
    size_t buffer_bytes; /* what waits at most, 8 KiB to 1 GiB; default 1 MiB */
    double linger_s;     /* how long an event may wait for others, 1 ms to 60 s; default 0.1 s */
} edgemon_options;

/* Why an event was dropped; 0 is "it was not". */
typedef enum edgemon_result {
    EDGEMON_OK = 0,
    EDGEMON_BUFFER_FULL, /* the agent is away, or slower than the application */
    EDGEMON_TOO_LARGE,   /* above EDGEMON_FRAME_MAX */
    EDGEMON_BAD_EVENT,   /* the protocol does not allow it: no model, text that is not UTF-8, … */
    EDGEMON_CLOSED,      /* after edgemon_close, or still in the ring then */
    EDGEMON_REFUSED,     /* the agent ended the connection over it, with a complaint */
    EDGEMON_RESULTS
} edgemon_result;

typedef enum edgemon_level { EDGEMON_MEMORY, EDGEMON_DISK } edgemon_level;

/* One prediction. Zero it, then set what there is: only `model` is needed. */
typedef struct edgemon_prediction {
    const char *model;                /* 1 to 256 characters */
    const char *version;              /* or NULL */
    const char *id;                   /* or NULL; to join a label later */
    double output;                    /* the prediction as a number, unless one of the two below is set */
    const char *output_text;          /* the prediction as a class */
    const double *output_vector;      /* or as confidences, 1 to 1024 */
    size_t output_length;
    const double *features;           /* NaN counts as such */
    const char *const *feature_names; /* as many as features, or NULL: f0, f1, … or the profile's names */
    size_t feature_count;
    double latency_s;                 /* seconds; 0: not measured */
    double ts;                        /* seconds since 1970, the application's clock; 0: the agent's clock on arrival */
} edgemon_prediction;

/* Counts since edgemon_open, or since the fork. */
typedef struct edgemon_counts {
    uint64_t taken;       /* events that came into the ring */
    uint64_t sent;        /* of them, those that a connection has taken whole */
    uint64_t confirmed;   /* of them, those that the agent said to have */
    uint64_t unconfirmed; /* at most so many were lost with connections that ended: sent, and not confirmed */
    uint64_t dropped[EDGEMON_RESULTS];
    uint64_t connections; /* agents that answered */
    uint64_t complaints;  /* lines of the agent about what it was sent */
    uint32_t pending;     /* events in the ring now */
    int connected;        /* 1: an agent has answered on this connection */
    char last_error[256]; /* why there is no connection; "" when there is one, or none was tried */
    char last_complaint[256];
} edgemon_counts;

/* NULL and errno: ENOMEM, EINVAL for options out of range. That there is no agent is no error. NULL: all defaults. */
edgemon_client *edgemon_open(const edgemon_options *options);
/* The event is in the ring, or why it is not. Neither waits. */
edgemon_result edgemon_log(edgemon_client *client, const edgemon_prediction *prediction);
/* The truth about an earlier prediction: a number, or a text if that is not NULL. */
edgemon_result edgemon_truth(edgemon_client *client, const char *model, const char *id, double label,
                             const char *label_text);
/* A prediction that did not come about. error: a short name of what failed, such as "timeout", 1 to 256 characters.
 * version: or NULL. */
edgemon_result edgemon_error(edgemon_client *client, const char *model, const char *error, const char *version);
/* A number worth a series of its own. step: NULL for none. */
edgemon_result edgemon_metric(edgemon_client *client, const char *name, double value, const int64_t *step);
/* Waits, at most timeout_s, until the agent has all events of before, in memory or on disk. 1: it has every one that the
 * application handed over since the flush before; 0: it has not, or something was dropped or lost meanwhile. */
int edgemon_flush(edgemon_client *client, edgemon_level level, double timeout_s);
void edgemon_get_counts(edgemon_client *client, edgemon_counts *counts);
/* Sends what is in the ring, waiting at most timeout_s (not at all when there is no agent), and ends the connection.
 * Later events are dropped as EDGEMON_CLOSED. */
void edgemon_close(edgemon_client *client, double timeout_s);
/* Releases the memory, after edgemon_close(client, 0) where that was not done. */
void edgemon_free(edgemon_client *client);
/* "buffer_full", …: the reason as text. */
const char *edgemon_result_name(edgemon_result result);

/* ---- for those who write events of their own: pack one msgpack object, then submit it --------------------------------
 *
 *     unsigned char space[512];
 *     edgemon_pack p = edgemon_pack_into(space, sizeof space);
 *     edgemon_pack_array(&p, 2); edgemon_pack_text(&p, "fraud", 5); edgemon_pack_double(&p, 0.9);
 *     edgemon_submit(client, &p);
 *
 * A packer never writes beyond its space; `full` says that something had no room. Integers and texts take the shortest
 * form, as the msgpack libraries write them.
 */
typedef struct edgemon_pack {
    unsigned char *start, *at, *end;
    int full; /* something did not fit */
    int bad;  /* a text was not UTF-8 */
} edgemon_pack;

edgemon_result edgemon_submit(edgemon_client *client, const edgemon_pack *event);
/* Counts events that could not be made. */
void edgemon_count(edgemon_client *client, edgemon_result reason, uint64_t events);
/* edgemon_flush in pieces, for callers who must look up between: the number of the last event; wait for it until that is
 * not -1 (not yet); and the answer of the whole, given that of the last wait. */
uint64_t edgemon_flush_number(edgemon_client *client);
int edgemon_flush_wait(edgemon_client *client, edgemon_level level, uint64_t number, double timeout_s);
int edgemon_flush_end(edgemon_client *client, edgemon_level level, int waited);
/* counts.complaints modulo 2^32, without the lock. */
uint32_t edgemon_complaints(const edgemon_client *client);

static inline edgemon_pack edgemon_pack_into(void *space, size_t size)
{
    edgemon_pack p;
    p.start = p.at = (unsigned char *)space;
    p.end = p.at + size;
    p.full = p.bad = 0;
    return p;
}

static inline unsigned char *edgemon_pack_room(edgemon_pack *p, size_t size)
{
    unsigned char *at = p->at;
    if ((size_t)(p->end - at) < size) {
        p->full = 1;
        return NULL;
    }
    p->at = at + size;
    return at;
}

static inline void edgemon_pack_byte(edgemon_pack *p, unsigned byte)
{
    unsigned char *at = edgemon_pack_room(p, 1);
    if (at != NULL)
        *at = (unsigned char)byte;
}

/* A tag and `width` bytes of the value, the highest first. */
static inline void edgemon_pack_tagged(edgemon_pack *p, unsigned tag, uint64_t value, unsigned width)
{
    unsigned char *at = edgemon_pack_room(p, 1 + (size_t)width);
    if (at == NULL)
        return;
    *at++ = (unsigned char)tag;
    for (; width > 0; width--)
        *at++ = (unsigned char)(value >> (8 * (width - 1)));
}

static inline void edgemon_pack_null(edgemon_pack *p) { edgemon_pack_byte(p, 0xc0); }
static inline void edgemon_pack_bool(edgemon_pack *p, int truth) { edgemon_pack_byte(p, truth ? 0xc3 : 0xc2); }

static inline void edgemon_pack_double(edgemon_pack *p, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    edgemon_pack_tagged(p, 0xcb, bits, 8);
}

static inline void edgemon_pack_float(edgemon_pack *p, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    edgemon_pack_tagged(p, 0xca, bits, 4);
}

static inline void edgemon_pack_uint(edgemon_pack *p, uint64_t value)
{
    if (value < 0x80)
        edgemon_pack_byte(p, (unsigned)value);
    else if (value <= 0xff)
        edgemon_pack_tagged(p, 0xcc, value, 1);
    else if (value <= 0xffff)
        edgemon_pack_tagged(p, 0xcd, value, 2);
    else if (value <= 0xffffffffu)
        edgemon_pack_tagged(p, 0xce, value, 4);
    else
        edgemon_pack_tagged(p, 0xcf, value, 8);
}

static inline void edgemon_pack_int(edgemon_pack *p, int64_t value)
{
    if (value >= 0)
        edgemon_pack_uint(p, (uint64_t)value);
    else if (value >= -32)
        edgemon_pack_byte(p, (unsigned)(value & 0xff));
    else if (value >= -0x80)
        edgemon_pack_tagged(p, 0xd0, (uint64_t)value, 1);
    else if (value >= -0x8000)
        edgemon_pack_tagged(p, 0xd1, (uint64_t)value, 2);
    else if (value >= -0x7fffffff - 1)
        edgemon_pack_tagged(p, 0xd2, (uint64_t)value, 4);
    else
        edgemon_pack_tagged(p, 0xd3, (uint64_t)value, 8);
}

static inline void edgemon_pack_array(edgemon_pack *p, size_t count)
{
    if (count < 16)
        edgemon_pack_byte(p, 0x90u | (unsigned)count);
    else if (count <= 0xffff)
        edgemon_pack_tagged(p, 0xdc, count, 2);
    else
        edgemon_pack_tagged(p, 0xdd, count, 4);
}

static inline void edgemon_pack_map(edgemon_pack *p, size_t count)
{
    if (count < 16)
        edgemon_pack_byte(p, 0x80u | (unsigned)count);
    else if (count <= 0xffff)
        edgemon_pack_tagged(p, 0xde, count, 2);
    else
        edgemon_pack_tagged(p, 0xdf, count, 4);
}

/* UTF-8 that the caller answers for; at most 2^32 - 1 bytes. */
static inline void edgemon_pack_text(edgemon_pack *p, const char *text, size_t size)
{
    unsigned char *at;
    if (size < 32)
        edgemon_pack_byte(p, 0xa0u | (unsigned)size);
    else if (size <= 0xff)
        edgemon_pack_tagged(p, 0xd9, size, 1);
    else if (size <= 0xffff)
        edgemon_pack_tagged(p, 0xda, size, 2);
    else
        edgemon_pack_tagged(p, 0xdb, size, 4);
    at = edgemon_pack_room(p, size);
    if (at != NULL)
        memcpy(at, text, size);
}

#ifdef __cplusplus
}
#endif
#endif /* EDGEMON_CLIENT_H */

#if defined(EDGEMON_CLIENT_IMPLEMENTATION) && !defined(EDGEMON_CLIENT_IMPLEMENTED)
#define EDGEMON_CLIENT_IMPLEMENTED

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#ifndef CLOCK_MONOTONIC
#error "edgemon_client.h: include it before system headers, or compile with -std=gnu99 or -D_POSIX_C_SOURCE=200809L"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define EDGEMON__SEND_AT 16384u     /* bytes in the ring from which the caller sends */
#define EDGEMON__SEND_MAX 65536u    /* of one send */
#define EDGEMON__CONTROL 0x80000000u /* a frame that is no event of the application */
#define EDGEMON__RESERVE 512u       /* bytes of the ring, and */
#define EDGEMON__RESERVE_FRAMES 16u /* its frames, that only the client's own may take */
#define EDGEMON__REPLIES 4096u      /* bytes of a reply; a longer one ends the connection */
#define EDGEMON__RETRY_MIN_MS 50
#define EDGEMON__RETRY_MAX_MS 4000
#define EDGEMON__EVERY_MS 1000      /* at most so often: a confirmation is asked for, drops are reported */

struct edgemon_client {
    /* Fixed by edgemon_open. */
    struct sockaddr_un address;
    int reachable;        /* the path fits into an address */
    size_t capacity;      /* of bytes */
    uint32_t slots;       /* of frames */
    int linger_ms;
    unsigned char *bytes; /* the ring */
    uint32_t *frames;     /* the sizes of the frames in it, in order; EDGEMON__CONTROL is set for our own */
    unsigned char *large; /* where an event is packed that the stack has no room for; under the lock */
    edgemon_client *next; /* of all, for fork */

    pthread_mutex_t lock; /* of all below; no system call under it waits */
    pthread_cond_t changed;
    pthread_t thread;
    int running, stop;
    int idle;             /* the ring is empty: the thread is to be told of the next event */
    int start_after;      /* events until the thread is tried again, where there could be none */
    int closing, closed;
    int hopeless;         /* closing, and there is nobody to send to */
    int urgent;           /* send without lingering */
    int sending;          /* somebody sends the front of the ring, without the lock */
    int waiters;          /* on `changed` */

    size_t head, used;    /* the ring: where its first frame begins, and its bytes */
    uint32_t first, count; /* slot of the first frame; frames */
    uint32_t controls;    /* of them ours */
    size_t head_sent;     /* bytes of the first frame that this connection has taken */

    int fd, wake;
    int ready;            /* the agent has answered; before that it gets no event */
    int blocked;          /* the kernel takes no more for now */
    int broken;           /* to be closed, by the thread */
    int complained;       /* the agent complained after the last send */
    int retry_ms;
    int64_t retry_at, due_at, asked_at, reported_at;
    uint32_t jitter;
    size_t received;
    unsigned char replies[EDGEMON__REPLIES];

    /* Events are numbered as they come into the ring; these are numbers up to which something is so. */
    uint64_t taken;        /* into the ring */
    uint64_t passed;       /* out of the ring again */
    uint64_t confirmed[2]; /* by the agent, or accounted for as a fault */
    uint64_t asked[2];     /* a confirmation is on its way */
    /* And these are counts. */
    uint64_t refused, unconfirmed, unconfirmed_told;
    uint64_t dropped[EDGEMON_RESULTS], dropped_told[EDGEMON_RESULTS], dropped_all;
    uint64_t faults[2], faults_seen[2];
    uint64_t connections;
    uint32_t complaints; /* read without the lock: 32 bits are atomic everywhere */
    char last_error[256], last_complaint[256];
};

static edgemon_client *edgemon__all;
static pthread_mutex_t edgemon__all_lock = PTHREAD_MUTEX_INITIALIZER;
static int edgemon__fork_known;

static int64_t edgemon__now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void edgemon__kick(edgemon_client *c)
{
    uint64_t one = 1;
    ssize_t written = c->wake >= 0 ? write(c->wake, &one, sizeof one) : 0;
    (void)written; /* the counter can only be full, and then the thread is awake */
}

static void edgemon__tell(edgemon_client *c)
{
    if (c->waiters > 0)
        pthread_cond_broadcast(&c->changed);
}

/* Waits for `changed` until a time of edgemon__now_ms. */
static void edgemon__wait_until(edgemon_client *c, int64_t at_ms)
{
    struct timespec at;
    at.tv_sec = (time_t)(at_ms / 1000);
    at.tv_nsec = (long)(at_ms % 1000) * 1000000;
    c->waiters++;
    pthread_cond_timedwait(&c->changed, &c->lock, &at);
    c->waiters--;
}

static void edgemon__wait_for_sender(edgemon_client *c)
{
    while (c->sending)
        edgemon__wait_until(c, edgemon__now_ms() + 1000);
}

static int64_t edgemon__deadline(double timeout_s)
{
    double ms = timeout_s > 0.0 ? timeout_s * 1000.0 : 0.0;
    return edgemon__now_ms() + (ms < 1e12 ? (int64_t)ms : INT64_C(1000000000000));
}

/* `into` has 256 bytes. */
static void edgemon__note(char *into, const char *text, size_t size)
{
    if (size > 255)
        size = 255;
    memcpy(into, text, size);
    into[size] = '\0';
}

static void edgemon__drop(edgemon_client *c, edgemon_result reason, uint64_t events)
{
    c->dropped[reason] += events;
    c->dropped_all += events;
}

/* ---- events ---- */

/* Bytes of one character of valid UTF-8 (RFC 3629: no surrogates, nothing overlong), 0 for what is none. */
static size_t edgemon__character(const unsigned char *at)
{
    unsigned first = at[0], lowest = 0x80, highest = 0xbf;
    size_t more, i;
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    if (first == 0xe0)
        lowest = 0xa0;
    else if (first == 0xed)
        highest = 0x9f;
    else if (first == 0xf0)
        lowest = 0x90;
    else if (first == 0xf4)
        highest = 0x8f;
    for (i = 1; i <= more; i++) { /* the zero at the end of a text is no byte of a character */
        if (at[i] < lowest || at[i] > highest)
            return 0;
        lowest = 0x80;
        highest = 0xbf;
    }
    return more + 1;
}

/* A text of the application: `at_most` characters, 0 for any number; empty only if that may be. */
static void edgemon__pack_checked(edgemon_pack *p, const char *text, size_t at_most, int may_be_empty)
{
    const unsigned char *at = (const unsigned char *)text;
    size_t characters = 0, bytes;
    if (text == NULL) {
        p->bad = 1;
        return;
    }
    while (*at != '\0' && (bytes = edgemon__character(at)) > 0) {
        at += bytes;
        characters++;
    }
    if (*at != '\0' || (at_most > 0 && characters > at_most) || (characters == 0 && !may_be_empty))
        p->bad = 1;
    else
        edgemon_pack_text(p, text, (size_t)(at - (const unsigned char *)text));
}

static void edgemon__pack_metric(edgemon_pack *p, const char *name, double value, const int64_t *step)
{
    edgemon_pack_map(p, step != NULL ? 3 : 2);
    edgemon_pack_text(p, "metric", 6);
    edgemon__pack_checked(p, name, 256, 0);
    edgemon_pack_text(p, "value", 5);
    edgemon_pack_double(p, value);
    if (step != NULL) {
        edgemon_pack_text(p, "step", 4);
        edgemon_pack_int(p, *step);
    }
}

/* ---- the ring; with the lock ---- */

static int edgemon__push(edgemon_client *c, const unsigned char *frame, size_t size, uint32_t control)
{
    size_t keep = control ? 0 : EDGEMON__RESERVE, tail, before_end;
    uint32_t keep_frames = control ? 0 : EDGEMON__RESERVE_FRAMES, slot;
    if (size + keep > c->capacity - c->used || 1 + keep_frames > c->slots - c->count)
        return 0;
    tail = c->head + c->used;
    if (tail >= c->capacity)
        tail -= c->capacity;
    before_end = c->capacity - tail;
    if (size <= before_end) {
        memcpy(c->bytes + tail, frame, size);
    } else {
        memcpy(c->bytes + tail, frame, before_end);
        memcpy(c->bytes, frame + before_end, size - before_end);
    }
    slot = c->first + c->count;
    if (slot >= c->slots)
        slot -= c->slots;
    c->frames[slot] = (uint32_t)size | control;
    c->used += size;
    c->count++;
    if (control)
        c->controls++;
    return 1;
}

/* The first frame leaves the ring. */
static void edgemon__pop(edgemon_client *c)
{
    uint32_t frame = c->frames[c->first];
    size_t size = frame & ~EDGEMON__CONTROL;
    c->head += size;
    if (c->head >= c->capacity)
        c->head -= c->capacity;
    c->used -= size;
    if (++c->first == c->slots)
        c->first = 0;
    c->count--;
    if (frame & EDGEMON__CONTROL)
        c->controls--;
    else
        c->passed++;
}

/* {"ack": n, "level": …}: n is the number of the last event before it, so that the answer says how far the agent is. */
static int edgemon__ask(edgemon_client *c, edgemon_level level)
{
    unsigned char space[32];
    edgemon_pack p = edgemon_pack_into(space, sizeof space);
    edgemon_pack_map(&p, level == EDGEMON_DISK ? 2 : 1);
    edgemon_pack_text(&p, "ack", 3);
    edgemon_pack_uint(&p, c->taken);
    if (level == EDGEMON_DISK) {
        edgemon_pack_text(&p, "level", 5);
        edgemon_pack_text(&p, "disk", 4);
    }
    if (!edgemon__push(c, space, (size_t)(p.at - p.start), EDGEMON__CONTROL))
        return 0;
    c->asked[level] = c->taken;
    return 1;
}

/* A metric with what was lost since the last one. */
static void edgemon__report(edgemon_client *c, const char *what, const char *reason, uint64_t lost, uint64_t *told)
{
    unsigned char space[128];
    char name[64];
    edgemon_pack p = edgemon_pack_into(space, sizeof space);
    if (lost == *told)
        return;
    snprintf(name, sizeof name, "edgemon/client/%s%s", what, reason);
    edgemon__pack_metric(&p, name, (double)(lost - *told), NULL);
    if (edgemon__push(c, space, (size_t)(p.at - p.start), EDGEMON__CONTROL))
        *told = lost;
}

/* Tells the agent what was lost; returns when there is more to tell, INT64_MAX if never. */
static int64_t edgemon__report_losses(edgemon_client *c, int64_t now)
{
    int reason, news = c->unconfirmed != c->unconfirmed_told;
    for (reason = EDGEMON_BUFFER_FULL; reason < EDGEMON_RESULTS; reason++)
        news |= c->dropped[reason] != c->dropped_told[reason];
    if (!news)
        return INT64_MAX;
    if (now < c->reported_at + EDGEMON__EVERY_MS && !c->closing)
        return c->reported_at + EDGEMON__EVERY_MS;
    c->reported_at = now;
    for (reason = EDGEMON_BUFFER_FULL; reason < EDGEMON_RESULTS; reason++)
        edgemon__report(c, "dropped/", edgemon_result_name((edgemon_result)reason), c->dropped[reason],
                        &c->dropped_told[reason]);
    edgemon__report(c, "unconfirmed", "", c->unconfirmed, &c->unconfirmed_told);
    return INT64_MAX;
}

/* One send of what stands at the front of the ring, without the lock meanwhile. Only when fd >= 0 and !sending. */
static void edgemon__send(edgemon_client *c)
{
    size_t at = c->head + c->head_sent, size = c->used - c->head_sent;
    ssize_t done;
    int error;
    if (at >= c->capacity)
        at -= c->capacity;
    if (size > c->capacity - at)
        size = c->capacity - at;
    if (size > EDGEMON__SEND_MAX)
        size = EDGEMON__SEND_MAX;
    c->sending = 1;
    pthread_mutex_unlock(&c->lock);
    done = send(c->fd, c->bytes + at, size, MSG_DONTWAIT | MSG_NOSIGNAL);
    error = errno;
    pthread_mutex_lock(&c->lock);
    c->sending = 0;
    if (done > 0) {
        c->complained = 0;
        c->head_sent += (size_t)done;
        while (c->count > 0 && c->head_sent >= (c->frames[c->first] & ~EDGEMON__CONTROL)) {
            c->head_sent -= c->frames[c->first] & ~EDGEMON__CONTROL;
            edgemon__pop(c);
        }
    } else if (done < 0 && error != EINTR) {
        if (error == EAGAIN || error == EWOULDBLOCK || error == ENOBUFS || error == ENOMEM)
            c->blocked = 1;
        else
            c->broken = 1;
    }
    edgemon__tell(c);
}

/* ---- what the agent answers; the thread alone, with the lock ---- */

typedef struct edgemon__item {
    char type; /* 'i' a number >= 0, 's' a text, 'm' a map, '-' anything else without parts */
    uint64_t number;
    const unsigned char *text;
} edgemon__item;

/* One msgpack item. 1; 0: it is not whole; -1: nothing that an agent says. */
static int edgemon__take(const unsigned char **at, const unsigned char *end, edgemon__item *item)
{
    const unsigned char *p = *at;
    unsigned tag, width = 0, i;
    if (p == end)
        return 0;
    tag = *p++;
    item->type = '-';
    item->number = 0;
    item->text = NULL;
    if (tag < 0x80) {
        item->type = 'i';
        item->number = tag;
    } else if (tag < 0x90) {
        item->type = 'm';
        item->number = tag & 15;
    } else if (tag >= 0xa0 && tag < 0xc0) {
        item->type = 's';
        item->number = tag & 31;
    } else if (tag >= 0xcc && tag <= 0xcf) {
        item->type = 'i';
        width = 1u << (tag - 0xcc);
    } else if (tag == 0xd9 || tag == 0xda) {
        item->type = 's';
        width = tag - 0xd8;
    } else if (tag == 0xca || tag == 0xcb) {
        width = tag == 0xca ? 4 : 8;
    } else if (tag >= 0xd0 && tag <= 0xd3) {
        width = 1u << (tag - 0xd0);
    } else if (!(tag >= 0xe0 || tag == 0xc0 || tag == 0xc2 || tag == 0xc3)) {
        return -1;
    }
    if ((size_t)(end - p) < width)
        return 0;
    for (i = 0; i < width; i++)
        item->number = item->number << 8 | *p++;
    if (item->type == 's') {
        if ((uint64_t)(end - p) < item->number)
            return 0;
        item->text = p;
        p += item->number;
    }
    *at = p;
    return 1;
}

static int edgemon__is(const edgemon__item *item, const char *text)
{
    return item->type == 's' && item->number == strlen(text) && memcmp(item->text, text, strlen(text)) == 0;
}

static void edgemon__complaint(edgemon_client *c, const unsigned char *text, size_t size)
{
    edgemon__note(c->last_complaint, (const char *)text, size);
    c->complained = 1;
    __atomic_store_n(&c->complaints, c->complaints + 1, __ATOMIC_RELAXED);
}

static void edgemon__confirm(edgemon_client *c, edgemon_level level, uint64_t number)
{
    if (number <= c->passed && number > c->confirmed[level])
        c->confirmed[level] = number;
}

/* One reply at the front of `size` bytes: how many it takes, 0 when it is not whole, -1 when it is none. */
static long edgemon__reply(edgemon_client *c, const unsigned char *start, size_t size, int64_t now)
{
    const unsigned char *at = start, *end = start + size;
    edgemon__item map, key, value, ack, error;
    uint64_t pairs;
    int disk = 0, whole;
    if (*at == '{') { /* a refusal, before the agent knows our encoding: a line of JSON */
        at = (const unsigned char *)memchr(start, '\n', size);
        if (at == NULL)
            return 0;
        edgemon__complaint(c, start, (size_t)(at - start));
        return (long)(at + 1 - start);
    }
    whole = edgemon__take(&at, end, &map);
    if (whole != 1)
        return whole;
    if (map.type != 'm')
        return -1;
    memset(&ack, 0, sizeof ack);
    error = ack;
    for (pairs = map.number; pairs > 0; pairs--) {
        if ((whole = edgemon__take(&at, end, &key)) != 1 || (whole = edgemon__take(&at, end, &value)) != 1)
            return whole;
        if (edgemon__is(&key, "ack"))
            ack = value;
        else if (edgemon__is(&key, "error"))
            error = value;
        else if (edgemon__is(&key, "level"))
            disk = edgemon__is(&value, "disk");
        if (key.type == 'm' || value.type == 'm')
            return -1;
    }
    if (error.type == 's')
        edgemon__complaint(c, error.text, (size_t)error.number);
    if (ack.type == 'i') {
        if (!c->ready) {
            c->ready = 1;
            c->connections++;
            c->last_error[0] = '\0';
            c->retry_ms = EDGEMON__RETRY_MIN_MS;
            c->asked_at = now - EDGEMON__EVERY_MS;
        }
        edgemon__confirm(c, EDGEMON_MEMORY, ack.number);
        if (error.type == 's')
            c->faults[EDGEMON_DISK]++; /* the disk refuses: that is the answer */
        if (disk || error.type == 's')
            edgemon__confirm(c, EDGEMON_DISK, ack.number);
    }
    edgemon__tell(c);
    return (long)(at - start);
}

static void edgemon__receive(edgemon_client *c, int64_t now)
{
    size_t at = 0;
    long used = 1;
    ssize_t done = recv(c->fd, c->replies + c->received, sizeof c->replies - c->received, MSG_DONTWAIT);
    if (done <= 0) {
        if (done == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
            c->broken = 1;
        return;
    }
    c->received += (size_t)done;
    while (at < c->received && used > 0) {
        used = edgemon__reply(c, c->replies + at, c->received - at, now);
        if (used > 0)
            at += (size_t)used;
    }
    c->received -= at;
    memmove(c->replies, c->replies + at, c->received);
    if (used < 0 || c->received == sizeof c->replies)
        c->broken = 1;
}

/* ---- the connection; the thread alone, with the lock ---- */

static void edgemon__retry_later(edgemon_client *c, int64_t now)
{
    c->jitter = c->jitter * 1664525u + 1013904223u; /* many clients of one agent are not to come at once */
    c->retry_at = now + c->retry_ms - (int64_t)((c->jitter >> 16) % (unsigned)(c->retry_ms / 2));
    c->retry_ms = c->retry_ms * 2 > EDGEMON__RETRY_MAX_MS ? EDGEMON__RETRY_MAX_MS : c->retry_ms * 2;
    if (c->closing)
        c->hopeless = 1;
    edgemon__tell(c);
}

static void edgemon__connect(edgemon_client *c, int64_t now)
{
    static const unsigned char hello[] = {0x81, 0xa3, 'a', 'c', 'k', 0x00};
    char text[256];
    int fd, size, error = ENAMETOOLONG;
    if (c->reachable) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        /* On a Unix socket connect succeeds or fails at once: a full backlog is EAGAIN. Then the question whether anybody
         * is there and lets us in; events go out once that is answered. */
        if (fd >= 0 && connect(fd, (const struct sockaddr *)&c->address, sizeof c->address) == 0 &&
            send(fd, hello, sizeof hello, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)sizeof hello) {
            c->fd = fd;
            c->received = 0;
            return;
        }
        error = errno;
        if (fd >= 0)
            close(fd);
    }
    size = snprintf(text, sizeof text, "no agent on %s: %s", c->address.sun_path, strerror(error));
    edgemon__note(c->last_error, text, size > 0 ? strlen(text) : 0);
    edgemon__retry_later(c, now);
}

static void edgemon__disconnect(edgemon_client *c, int64_t now)
{
    int level;
    edgemon__wait_for_sender(c);
    close(c->fd);
    c->fd = -1;
    if (c->complained && c->head_sent > 0 && !(c->frames[c->first] & EDGEMON__CONTROL)) {
        edgemon__pop(c); /* the agent complained in the middle of this one, and would do so again */
        edgemon__drop(c, EDGEMON_REFUSED, 1);
        c->refused++;
        c->unconfirmed--; /* it is not counted twice */
    }
    if (c->passed > c->confirmed[EDGEMON_MEMORY])
        c->unconfirmed += c->passed - c->confirmed[EDGEMON_MEMORY];
    for (level = EDGEMON_MEMORY; level <= EDGEMON_DISK; level++) {
        c->faults[level] += c->passed > c->confirmed[level];
        c->confirmed[level] = c->passed; /* accounted for */
    }
    c->head_sent = 0;
    c->ready = c->blocked = c->broken = c->complained = 0;
    edgemon__retry_later(c, now);
}

/* ---- the thread ---- */

/* What there is to do for an agent that listens; returns when there is more, INT64_MAX if never. */
static int64_t edgemon__work(edgemon_client *c, int64_t now)
{
    int64_t again = edgemon__report_losses(c, now);
    uint64_t asked = c->asked[EDGEMON_MEMORY] > c->asked[EDGEMON_DISK] ? c->asked[EDGEMON_MEMORY] : c->asked[EDGEMON_DISK];
    int due, sends;
    if (c->count == 0)
        c->due_at = 0;
    else if (c->due_at == 0)
        c->due_at = now + c->linger_ms;
    due = c->count > 0 && (c->urgent || c->closing || now >= c->due_at || c->used >= EDGEMON__SEND_AT);
    if (c->taken > asked && c->taken > c->confirmed[EDGEMON_MEMORY]) {
        if (now < c->asked_at + EDGEMON__EVERY_MS) {
            if (c->asked_at + EDGEMON__EVERY_MS < again)
                again = c->asked_at + EDGEMON__EVERY_MS;
        } else if (due || c->count == c->controls) {
            if (edgemon__ask(c, EDGEMON_MEMORY))
                c->asked_at = now;
            due = 1;
        }
    }
    if (!due)
        return c->count > 0 && c->due_at < again ? c->due_at : again;
    for (sends = 0; c->count > 0 && !c->blocked && !c->broken; sends++) {
        if (sends == 64)
            return now; /* there may be replies to read */
        edgemon__wait_for_sender(c);
        if (c->count > 0 && !c->blocked && !c->broken)
            edgemon__send(c);
    }
    if (c->count == 0) {
        c->due_at = 0;
        c->urgent = 0;
    }
    return again;
}

static void *edgemon__run(void *client)
{
    edgemon_client *c = (edgemon_client *)client;
    prctl(PR_SET_NAME, "edgemon-client", 0, 0, 0);
    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        int64_t now = edgemon__now_ms(), again = INT64_MAX;
        struct pollfd fds[2];
        int polled, timeout;
        if (c->broken)
            edgemon__disconnect(c, now);
        if (c->fd < 0 && c->count > 0 && !c->hopeless) {
            if (now >= c->retry_at || c->closing)
                edgemon__connect(c, now);
            if (c->fd < 0)
                again = c->retry_at;
        }
        if (c->ready && !c->blocked)
            again = edgemon__work(c, now);
        if (c->broken)
            continue;
        now = edgemon__now_ms();
        timeout = again == INT64_MAX || c->hopeless ? -1 : again <= now ? 0 : (int)(again - now);
        c->idle = c->count == 0;
        fds[0].fd = c->wake;
        fds[0].events = POLLIN;
        fds[1].fd = c->fd; /* -1 is left out */
        fds[1].events = (short)(c->blocked ? POLLIN | POLLOUT : POLLIN);
        fds[0].revents = fds[1].revents = 0;
        pthread_mutex_unlock(&c->lock);
        polled = poll(fds, 2, timeout);
        pthread_mutex_lock(&c->lock);
        c->idle = 0;
        if (polled > 0 && fds[0].revents != 0) {
            uint64_t kicks;
            ssize_t got = read(c->wake, &kicks, sizeof kicks);
            (void)got; /* how often does not matter */
        }
        if (polled > 0 && fds[1].revents != 0) {
            if (fds[1].revents & POLLOUT)
                c->blocked = 0;
            if (fds[1].revents & (POLLIN | POLLHUP | POLLERR))
                edgemon__receive(c, edgemon__now_ms());
        }
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static void edgemon__start(edgemon_client *c)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    int failed;
    if (c->wake < 0)
        c->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    c->start_after = 1024;
    if (c->wake < 0 || pthread_attr_init(&attributes) != 0)
        return;
    sigfillset(&all); /* signals are the application's */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    failed = pthread_create(&c->thread, &attributes, edgemon__run, c);
    if (failed) /* a program with much thread-local memory needs more */
        failed = pthread_create(&c->thread, NULL, edgemon__run, c);
    pthread_attr_destroy(&attributes);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    c->running = !failed;
}

/* ---- fork ---- */

/* As after edgemon_open: nothing in the ring, nothing counted, no connection, no thread. */
static void edgemon__begin(edgemon_client *c)
{
    pthread_condattr_t attributes;
    pthread_mutex_init(&c->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&c->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    c->running = c->stop = c->idle = c->start_after = c->hopeless = c->urgent = c->sending = c->waiters = 0;
    c->head = c->used = c->head_sent = c->received = 0;
    c->first = c->count = c->controls = 0;
    c->fd = c->wake = -1;
    c->ready = c->blocked = c->broken = c->complained = 0;
    c->retry_ms = EDGEMON__RETRY_MIN_MS;
    c->retry_at = c->due_at = c->asked_at = c->reported_at = 0;
    c->jitter = (uint32_t)getpid() * 2654435761u + (uint32_t)(uintptr_t)c;
    c->taken = c->passed = c->refused = c->unconfirmed = c->unconfirmed_told = c->dropped_all = 0;
    c->connections = c->complaints = 0;
    memset(c->confirmed, 0, sizeof c->confirmed);
    memset(c->asked, 0, sizeof c->asked);
    memset(c->dropped, 0, sizeof c->dropped);
    memset(c->dropped_told, 0, sizeof c->dropped_told);
    memset(c->faults, 0, sizeof c->faults);
    memset(c->faults_seen, 0, sizeof c->faults_seen);
    c->last_error[0] = c->last_complaint[0] = '\0';
}

static void edgemon__before_fork(void)
{
    edgemon_client *c;
    pthread_mutex_lock(&edgemon__all_lock);
    for (c = edgemon__all; c != NULL; c = c->next)
        pthread_mutex_lock(&c->lock);
}

static void edgemon__parent_of_fork(void)
{
    edgemon_client *c;
    for (c = edgemon__all; c != NULL; c = c->next)
        pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&edgemon__all_lock);
}

static void edgemon__child_of_fork(void)
{
    edgemon_client *c;
    for (c = edgemon__all; c != NULL; c = c->next) {
        if (c->fd >= 0)
            close(c->fd); /* the parent's goes on */
        if (c->wake >= 0)
            close(c->wake);
        edgemon__begin(c);
    }
    pthread_mutex_init(&edgemon__all_lock, NULL);
}

/* ---- the functions of the application ---- */

const char *edgemon_result_name(edgemon_result result)
{
    switch (result) {
    case EDGEMON_OK: return "ok";
    case EDGEMON_BUFFER_FULL: return "buffer_full";
    case EDGEMON_TOO_LARGE: return "too_large";
    case EDGEMON_BAD_EVENT: return "bad_event";
    case EDGEMON_CLOSED: return "closed";
    case EDGEMON_REFUSED: return "refused";
    case EDGEMON_RESULTS: break;
    }
    return "unknown";
}

edgemon_client *edgemon_open(const edgemon_options *options)
{
    const char *path = options != NULL ? options->socket : NULL;
    size_t buffer = options != NULL && options->buffer_bytes != 0 ? options->buffer_bytes : (size_t)1 << 20;
    double linger_s = options != NULL && options->linger_s != 0.0 ? options->linger_s : 0.1;
    edgemon_client *c;
    if (path == NULL)
        path = getenv("EDGEMON_SOCKET");
    if (path == NULL || *path == '\0')
        path = EDGEMON_DEFAULT_SOCKET;
    if (buffer < 8192 || buffer > (size_t)1 << 30 || !(linger_s >= 0.001 && linger_s <= 60.0)) {
        errno = EINVAL;
        return NULL;
    }
    c = (edgemon_client *)calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->capacity = buffer;
    c->slots = (uint32_t)(buffer / 32);
    c->linger_ms = (int)(linger_s * 1000.0);
    c->bytes = (unsigned char *)malloc(c->capacity);
    c->frames = (uint32_t *)malloc(c->slots * sizeof *c->frames);
    c->large = (unsigned char *)malloc(EDGEMON_FRAME_MAX);
    if (c->bytes == NULL || c->frames == NULL || c->large == NULL) {
        free(c->bytes);
        free(c->frames);
        free(c->large);
        free(c);
        errno = ENOMEM;
        return NULL;
    }
    c->address.sun_family = AF_UNIX;
    c->reachable = strlen(path) < sizeof c->address.sun_path;
    memcpy(c->address.sun_path, path, c->reachable ? strlen(path) : sizeof c->address.sun_path - 1);
    edgemon__begin(c);
    pthread_mutex_lock(&edgemon__all_lock);
    if (!edgemon__fork_known)
        edgemon__fork_known = pthread_atfork(edgemon__before_fork, edgemon__parent_of_fork, edgemon__child_of_fork) == 0;
    c->next = edgemon__all;
    edgemon__all = c;
    pthread_mutex_unlock(&edgemon__all_lock);
    return c;
}

static edgemon_result edgemon__submit(edgemon_client *c, const edgemon_pack *event)
{
    size_t size = (size_t)(event->at - event->start);
    edgemon_result reason = EDGEMON_OK;
    if (event->bad || size == 0)
        reason = EDGEMON_BAD_EVENT;
    else if (event->full || size > EDGEMON_FRAME_MAX || size + EDGEMON__RESERVE > c->capacity)
        reason = EDGEMON_TOO_LARGE;
    else if (c->closing)
        reason = EDGEMON_CLOSED;
    else if (!edgemon__push(c, event->start, size, 0))
        reason = EDGEMON_BUFFER_FULL;
    if (reason != EDGEMON_OK) {
        edgemon__drop(c, reason, 1);
        return reason;
    }
    c->taken++;
    if (!c->running && --c->start_after <= 0)
        edgemon__start(c);
    if (c->used >= EDGEMON__SEND_AT && c->ready && !c->blocked && !c->broken && !c->sending) {
        edgemon__send(c);
        if (c->blocked || c->broken) /* the thread waits for room, or for another agent */
            edgemon__kick(c);
    }
    if (c->idle) {
        c->idle = 0;
        edgemon__kick(c);
    }
    return EDGEMON_OK;
}

edgemon_result edgemon_submit(edgemon_client *c, const edgemon_pack *event)
{
    edgemon_result result;
    pthread_mutex_lock(&c->lock);
    result = edgemon__submit(c, event);
    pthread_mutex_unlock(&c->lock);
    return result;
}

void edgemon_count(edgemon_client *c, edgemon_result reason, uint64_t events)
{
    pthread_mutex_lock(&c->lock);
    edgemon__drop(c, reason, events);
    pthread_mutex_unlock(&c->lock);
}

static void edgemon__pack_prediction(edgemon_pack *p, const edgemon_prediction *e)
{
    /* [model, output, features, latency, id, ts, version], trailing fields left out */
    size_t fields = e->version != NULL ? 7 : e->ts != 0.0 ? 6 : e->id != NULL ? 5 : e->latency_s != 0.0 ? 4
                  : e->feature_count > 0 ? 3 : 2, i;
    edgemon_pack_array(p, fields);
    edgemon__pack_checked(p, e->model, 256, 0);
    if (e->output_text != NULL) {
        edgemon__pack_checked(p, e->output_text, 0, 1);
    } else if (e->output_vector != NULL) {
        p->bad |= e->output_length < 1 || e->output_length > 1024;
        edgemon_pack_array(p, e->output_length);
        for (i = 0; i < e->output_length && !p->full; i++)
            edgemon_pack_double(p, e->output_vector[i]);
    } else {
        edgemon_pack_double(p, e->output);
    }
    if (fields > 2) {
        if (e->feature_names != NULL)
            edgemon_pack_map(p, e->feature_count);
        else
            edgemon_pack_array(p, e->feature_count);
        for (i = 0; i < e->feature_count && !p->full; i++) {
            if (e->feature_names != NULL)
                edgemon__pack_checked(p, e->feature_names[i], 256, 0);
            edgemon_pack_double(p, e->features[i]);
        }
    }
    if (fields > 3) {
        if (e->latency_s != 0.0)
            edgemon_pack_double(p, e->latency_s);
        else
            edgemon_pack_null(p);
    }
    if (fields > 4) {
        if (e->id != NULL)
            edgemon__pack_checked(p, e->id, 256, 1);
        else
            edgemon_pack_null(p);
    }
    if (fields > 5) {
        if (e->ts != 0.0)
            edgemon_pack_double(p, e->ts);
        else
            edgemon_pack_null(p);
    }
    if (fields > 6)
        edgemon__pack_checked(p, e->version, 256, 1);
    p->bad |= e->latency_s - e->latency_s != 0.0 || e->ts - e->ts != 0.0; /* must be finite */
}

edgemon_result edgemon_log(edgemon_client *c, const edgemon_prediction *prediction)
{
    unsigned char space[2048];
    edgemon_pack p = edgemon_pack_into(space, sizeof space);
    edgemon_result result;
    edgemon__pack_prediction(&p, prediction);
    pthread_mutex_lock(&c->lock);
    if (p.full && !p.bad) {
        p = edgemon_pack_into(c->large, EDGEMON_FRAME_MAX);
        edgemon__pack_prediction(&p, prediction);
    }
    result = edgemon__submit(c, &p);
    pthread_mutex_unlock(&c->lock);
    return result;
}

edgemon_result edgemon_truth(edgemon_client *c, const char *model, const char *id, double label, const char *label_text)
{
    unsigned char space[8192];
    edgemon_pack p = edgemon_pack_into(space, sizeof space);
    edgemon_pack_map(&p, 3);
    edgemon_pack_text(&p, "model", 5);
    edgemon__pack_checked(&p, model, 256, 0);
    edgemon_pack_text(&p, "id", 2);
    edgemon__pack_checked(&p, id, 256, 1);
    edgemon_pack_text(&p, "label", 5);
    if (label_text != NULL)
        edgemon__pack_checked(&p, label_text, 0, 1);
    else
        edgemon_pack_double(&p, label);
    return edgemon_submit(c, &p);
}

edgemon_result edgemon_error(edgemon_client *c, const char *model, const char *error, const char *version)
{
    unsigned char space[4096];
    edgemon_pack p = edgemon_pack_into(space, sizeof space);
    edgemon_pack_map(&p, version != NULL ? 3 : 2);
    edgemon_pack_text(&p, "model", 5);
    edgemon__pack_checked(&p, model, 256, 0);
    edgemon_pack_text(&p, "error", 5);
    edgemon__pack_checked(&p, error, 256, 0);
    if (version != NULL) {
        edgemon_pack_text(&p, "version", 7);
        edgemon__pack_checked(&p, version, 256, 1);
    }
    return edgemon_submit(c, &p);
}

edgemon_result edgemon_metric(edgemon_client *c, const char *name, double value, const int64_t *step)
{
    unsigned char space[2048];
    edgemon_pack p = edgemon_pack_into(space, sizeof space);
    edgemon__pack_metric(&p, name, value, step);
    return edgemon_submit(c, &p);
}

uint32_t edgemon_complaints(const edgemon_client *c) { return __atomic_load_n(&c->complaints, __ATOMIC_RELAXED); }

uint64_t edgemon_flush_number(edgemon_client *c)
{
    uint64_t number;
    pthread_mutex_lock(&c->lock);
    number = c->taken;
    pthread_mutex_unlock(&c->lock);
    return number;
}

int edgemon_flush_wait(edgemon_client *c, edgemon_level level, uint64_t number, double timeout_s)
{
    int64_t deadline = edgemon__deadline(timeout_s), now;
    int result = -1;
    pthread_mutex_lock(&c->lock);
    for (;;) {
        if (c->confirmed[level] >= number) {
            result = 1;
            break;
        }
        if (c->closing || !c->running) {
            result = 0;
            break;
        }
        /* Once is enough: a question that a lost connection took with it took the events before it, too. Where there is
         * no room for it now, there will be some later. */
        if (c->asked[level] < number && (level == EDGEMON_DISK || c->asked[EDGEMON_DISK] < number))
            edgemon__ask(c, level);
        c->urgent = 1;
        edgemon__kick(c);
        now = edgemon__now_ms();
        if (now >= deadline)
            break;
        edgemon__wait_until(c, deadline < now + 200 ? deadline : now + 200);
    }
    pthread_mutex_unlock(&c->lock);
    return result;
}

int edgemon_flush_end(edgemon_client *c, edgemon_level level, int waited)
{
    uint64_t faults;
    int kept;
    pthread_mutex_lock(&c->lock);
    faults = c->faults[level] + c->dropped_all;
    kept = waited == 1 && faults == c->faults_seen[level];
    c->faults_seen[level] = faults;
    pthread_mutex_unlock(&c->lock);
    return kept;
}

int edgemon_flush(edgemon_client *c, edgemon_level level, double timeout_s)
{
    uint64_t number = edgemon_flush_number(c);
    return edgemon_flush_end(c, level, edgemon_flush_wait(c, level, number, timeout_s));
}

void edgemon_get_counts(edgemon_client *c, edgemon_counts *counts)
{
    pthread_mutex_lock(&c->lock);
    counts->taken = c->taken;
    counts->sent = c->passed - c->refused;
    counts->unconfirmed = c->unconfirmed;
    counts->confirmed = c->confirmed[EDGEMON_MEMORY] - c->refused - c->unconfirmed;
    memcpy(counts->dropped, c->dropped, sizeof counts->dropped);
    counts->connections = c->connections;
    counts->complaints = c->complaints;
    counts->pending = c->count - c->controls;
    counts->connected = c->ready;
    memcpy(counts->last_error, c->last_error, sizeof counts->last_error);
    memcpy(counts->last_complaint, c->last_complaint, sizeof counts->last_complaint);
    pthread_mutex_unlock(&c->lock);
}

void edgemon_close(edgemon_client *c, double timeout_s)
{
    int64_t deadline = edgemon__deadline(timeout_s);
    int sends;
    pthread_mutex_lock(&c->lock);
    if (c->closing) {
        pthread_mutex_unlock(&c->lock);
        return;
    }
    c->closing = 1;
    for (sends = 0; sends < 32 && c->count > 0 && c->ready && !c->blocked && !c->broken && !c->sending; sends++)
        edgemon__send(c);
    if (c->running) {
        edgemon__kick(c);
        while (c->count > 0 && !c->hopeless && edgemon__now_ms() < deadline)
            edgemon__wait_until(c, deadline);
        c->stop = 1;
        edgemon__kick(c);
        pthread_mutex_unlock(&c->lock);
        pthread_join(c->thread, NULL);
        pthread_mutex_lock(&c->lock);
        c->running = 0;
    }
    edgemon__wait_for_sender(c);
    edgemon__drop(c, EDGEMON_CLOSED, c->count - c->controls);
    c->used = c->head_sent = 0;
    c->count = c->controls = 0;
    if (c->fd >= 0)
        close(c->fd);
    if (c->wake >= 0)
        close(c->wake);
    c->fd = c->wake = -1;
    c->ready = 0;
    edgemon__tell(c);
    pthread_mutex_unlock(&c->lock);
}

void edgemon_free(edgemon_client *c)
{
    edgemon_client **at;
    if (c == NULL)
        return;
    edgemon_close(c, 0.0);
    pthread_mutex_lock(&edgemon__all_lock);
    for (at = &edgemon__all; *at != NULL; at = &(*at)->next) {
        if (*at == c) {
            *at = c->next;
            break;
        }
    }
    pthread_mutex_unlock(&edgemon__all_lock);
    pthread_cond_destroy(&c->changed);
    pthread_mutex_destroy(&c->lock);
    free(c->bytes);
    free(c->frames);
    free(c->large);
    free(c);
}

#ifdef __cplusplus
}
#endif
#endif /* EDGEMON_CLIENT_IMPLEMENTATION */
