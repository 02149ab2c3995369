/* Decoder of the ingest protocol, version 1 (docs/protocol.md): bytes of one connection in, checked events out.
 * JSON lines and msgpack give the same events, the same refusals and the same numbers.
 *
 * Two objects. An em_decoder has the limits and the scratch of one event and is shared by all connections of a thread.
 * An em_framing is what one connection must remember between reads: its encoding and how far a frame that is not whole
 * yet was searched, so that a frame that dribbles in byte by byte costs O(its size) in total.
 *
 * Ownership: em_decoder_init allocates once, em_decoder_free releases; nothing else allocates. The spans of an event
 * point into `buf` or into the decoder's scratch: they live until the next call with that decoder, while buf stays.
 * No globals, no IO, no locale, any alignment of buf. Not for two threads at once. Complexity: O(bytes), plus O(names)
 * expected for the names of features.
 *
 * Loop of a caller:
 *
 *     while ((verdict = em_decode_next(decoder, framing, buf, size, ended, &used, &event)) != EM_NEED_MORE) {
 *         ... EM_EVENT: use it; EM_BAD_EVENT: count em_reason_name(decoder->reason); EM_FAULT: close, return
 *         buf += used; size -= used; at += used;
 *     }
 *     at += used; keep the bytes from buf + used on and call again with them and what follows them
 */
#ifndef EM_EVENT_H
#define EM_EVENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EM_VECTOR_MAX 1024      /* numbers of an output that is a vector */
#define EM_NESTING_MAX 64       /* lists and maps inside one another; the event itself is the first */
#define EM_NAME_MAX 256         /* characters of a model, a metric, a feature's name, a version and an id */
#define EM_ACK_MAX 64           /* characters of the token of an ack */
#define EM_INTEGER_DIGITS 4300  /* of an integer in JSON; a longer one is no frame */
#define EM_FRAME_MIN 16         /* what em_limits.frame_bytes may be */
#define EM_FRAME_MAX (1u << 28)
#define EM_FEATURES_MAX 65535
#define EM_STRING_MIN 16        /* what em_limits.string_bytes must be at least */

typedef struct em_limits {
    uint32_t frame_bytes;  /* of a msgpack object, or of a line without its end; EM_FRAME_MIN..EM_FRAME_MAX */
    uint32_t string_bytes; /* UTF-8 bytes of one string that the event keeps, at least EM_STRING_MIN */
    uint32_t features;     /* distinct features of one event, 1..EM_FEATURES_MAX */
    uint32_t nesting;      /* 1..EM_NESTING_MAX */
    uint64_t seed;         /* of the hash over names; random, so that a client cannot choose collisions */
} em_limits;

/* UTF-8 without terminator; data is NULL when there is none. Checked, but for a token of an ack: see em_event.token. */
typedef struct em_span {
    const uint8_t *data;
    uint32_t size;
} em_span;

typedef enum em_event_type { EM_PREDICTION, EM_LABEL, EM_ERROR, EM_METRIC, EM_ACK } em_event_type;

typedef enum em_kind {
    EM_NONE,   /* null, absent, or a feature whose value was of a wrong type */
    EM_NUMBER, /* any double: NaN and infinities come through; booleans are 1 and 0 */
    EM_TEXT,
    EM_VECTOR  /* of an output only */
} em_kind;

typedef struct em_feature {
    em_span name;  /* 1..EM_NAME_MAX characters; data is NULL when features came as a list: the index is the name */
    union {
        double number; /* EM_NUMBER */
        em_span text;  /* EM_TEXT */
    } as;
    uint8_t kind;  /* em_kind: EM_NONE, EM_NUMBER or EM_TEXT */
    uint8_t flags; /* the decoder's own */
} em_feature;

typedef struct em_event {
    em_event_type type;
    em_span model;       /* prediction, label, error: 1..EM_NAME_MAX characters; metric: its name */
    em_span version;     /* prediction, label, error; size 0 when there is none; an integer arrives as its decimal digits */
    em_span id;          /* prediction, error: data is NULL when absent (an empty id has data and size 0); label: always there */
    bool has_ts;
    bool has_latency;    /* prediction */
    double ts;           /* seconds since 1970, finite */
    double latency_s;    /* seconds, finite, any sign */
    em_kind kind;        /* prediction: of the output, any kind; label: EM_NUMBER or EM_TEXT; error: EM_TEXT;
                          * metric: EM_NUMBER */
    double number;       /* the output, label or value when EM_NUMBER */
    em_span text;        /* the output or label when EM_TEXT; error: what failed, at most EM_NAME_MAX characters */
    const double *vector; /* the output when EM_VECTOR: vector_length numbers, 1..EM_VECTOR_MAX */
    uint32_t vector_length;
    uint32_t features_length;
    const em_feature *features; /* prediction: distinct names in order of first appearance, the last value of each */
    bool positional;     /* features came as a list: feature k is the k-th of the model */
    bool has_step;       /* metric */
    int64_t step;
    bool disk;           /* ack: level "disk", else "memory" */
    bool token_integer;  /* ack: the token was an integer; `token` is its decimal digits */
    em_span token;       /* ack: at most EM_ACK_MAX characters; from JSON it may hold a lone surrogate (as 3 bytes) */
    uint32_t wrong_type; /* values of features lost because they were lists or maps; also set on EM_BAD_EVENT */
} em_event;

typedef enum em_verdict {
    EM_NEED_MORE, /* nothing whole left; with `ended`: nothing left */
    EM_EVENT,     /* *event is filled */
    EM_BAD_EVENT, /* a whole frame that is no valid event: only it is lost; decoder->reason, em_decoder_message */
    EM_FAULT      /* bytes that are no frame: the connection must end; decoder->reason, ->fault_at, message */
} em_verdict;

typedef enum em_reason {
    EM_REASON_NONE,
    /* of faults; EM_BAD_UTF8 also of an event, when a string of JSON holds half a surrogate pair */
    EM_MALFORMED,
    EM_BAD_UTF8,
    EM_FRAME_SIZE,
    /* of events */
    EM_NOT_AN_EVENT,
    EM_BAD_NAME,
    EM_BAD_ID,
    EM_BAD_NUMBER,
    EM_BAD_FEATURES,
    EM_TOO_MANY_FEATURES,
    EM_BAD_OUTPUT,
    EM_BAD_LABEL,
    EM_BAD_METRIC,
    EM_BAD_ACK,
    EM_STRING_SIZE,
    EM_REASONS
} em_reason;

typedef enum em_encoding { EM_UNKNOWN, EM_JSON, EM_MSGPACK } em_encoding;

/* One a connection, or one a datagram; {0} is a new one. All but `encoding` is the decoder's own. */
typedef struct em_framing {
    uint8_t encoding;    /* em_encoding: told by the first byte */
    bool walking;        /* msgpack: the frame was not whole, and is walked as it grows */
    uint32_t depth;      /* msgpack: open lists and maps in the walk */
    size_t searched;     /* bytes of the frame that need no second look */
    uint32_t left[EM_NESTING_MAX]; /* items to come, a level; the lowest bit of `map` is level 0 */
    uint64_t map;        /* levels that are maps; with an even number to come the next item is a key */
} em_framing;

typedef struct em_name_slot em_name_slot;
typedef struct em_shapes em_shapes;
typedef struct em_problem em_problem;

typedef struct em_decoder {
    em_limits limits;
    em_reason reason;    /* why the last verdict was EM_BAD_EVENT or EM_FAULT */
    size_t frame_at;     /* where in buf the frame of the last verdict began (EM_EVENT, EM_BAD_EVENT, EM_FAULT) */
    size_t fault_at;     /* where in buf the bytes are wrong (EM_FAULT) */
    /* what follows is the decoder's own */
    em_problem *problem;
    em_shapes *shapes;      /* of msgpack */
    em_feature *features;   /* limits.features */
    double *vector;         /* EM_VECTOR_MAX */
    em_name_slot *names;    /* hash table over the names of one event */
    uint32_t names_mask;
    uint32_t names_stamp;
    uint8_t *scratch;       /* strings without their escapes, digits of integers; never more than a frame needs */
    uint8_t *scratch_next;
} em_decoder;

/* 0; -1 when there is no memory; -2 when a limit is out of range. Memory: em_decoder_memory, about 105 KiB by default
 * (64 KiB of it touched only by escapes in JSON). */
int em_decoder_init(em_decoder *decoder, const em_limits *limits);
void em_decoder_free(em_decoder *decoder);
size_t em_decoder_memory(const em_decoder *decoder);

/* Decodes the next frame of buf. ended: nothing comes after these bytes (a last line needs no end of line; half a
 * msgpack object is a fault). *used: bytes of buf that are done with, under every verdict; the caller passes what is
 * left, unchanged, at the start of the next buf. event: filled on EM_EVENT; else only event->wrong_type is of use. */
em_verdict em_decode_next(em_decoder *decoder, em_framing *framing, const uint8_t *buf, size_t size, bool ended,
                          size_t *used, em_event *event);

/* The label of a counter, e.g. "bad_name". */
const char *em_reason_name(em_reason reason);
/* One line in UTF-8 that says what was wrong with the last EM_BAD_EVENT or EM_FAULT, without where; at most `size` bytes
 * with the terminating zero. Before the next call of em_decode_next, while buf stays. Returns its length. */
size_t em_decoder_message(const em_decoder *decoder, char *out, size_t size);

#endif
