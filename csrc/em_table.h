/* The hot path: decoded predictions of known models go into their streams' windows and watches, and nobody else has to
 * look at them. Models and streams are entered by the caller, who decides what is known, how many there may be and
 * which go; this table only looks up, by the raw bytes of the names.
 *
 * A prediction is taken here when its model is known and not `slow`, and all that it says goes into streams of numbers
 * that have begun: no text, no vector but of confidences, no stream that is new, nothing that is news of the schema. All others are the
 * caller's, in their order: he first empties the block. One that finds `skip` at 0 is taken and shown to the caller too,
 * who captures it and sets skip.
 *
 * Block. What is taken waits in a block of columns, one a stream, one entry a prediction, all of one model; emptying it
 * takes the columns one after the other. Streams do not depend on each other, so this gives what one prediction after
 * the other gives, as long as news are sorted by (prediction, stream) afterwards; and while a column is taken, the
 * state of its stream stays in the processor's nearest cache.
 *
 * Quality. What is wrong with a row (em_rows) is noted when it is taken and answered when the block is emptied, after
 * the streams: whether it repeats the row before is seen column by column, as long as some row may.
 *
 * Raw rows. Of a model that is `keep`, the block also holds time and id of those that `skip` would show, and which they
 * are, so that the caller can take columns of raw rows before he fills the block again. What is skipped after each is told
 * ahead, in `gaps`; without one the block is as good as full.
 *
 * Truths. Of a model that `joins`, the block also holds what the ids of all its predictions are known by (em_join_id), so
 * that the caller, who has them wait for their truth, can take them with the column of outputs before he fills the block again.
 *
 * Vectors. Of a model that gives vectors of confidences, the largest entry and the entropy are streams like others. The
 * class, a text, is the caller's: the block also holds each vector in brief, which he can take before he fills it again.
 *
 * Ownership: names are copied; windows, watches, qualities and rows are borrowed and outlive their stream or model. All functions that enter
 * something allocate, em_table_take and em_table_next do not.
 * Complexity: take: O(features), by memcmp where names come in the order of the last prediction, else by hash.
 */
#ifndef EM_TABLE_H
#define EM_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "em_confidence.h"
#include "em_event.h"
#include "em_quality.h"
#include "em_watch.h"
#include "em_window.h"

enum {
    EM_BLOCK_ROWS = 1024,   /* predictions in a block, at most: more than one read brings, as a rule */
    EM_BLOCK_VALUES = 8192, /* and values, times among them; a model with more streams is slow */
    EM_BLOCK_ID_BYTES = 65536, /* of ids that are kept */
    EM_GAPS = 64,
};

typedef enum em_role {
    EM_ROLE_FEATURE,
    EM_ROLE_OUTPUT,
    EM_ROLE_LATENCY,
    EM_ROLE_CONFIDENCE,
    EM_ROLE_ENTROPY,
} em_role;

typedef struct em_stream {
    uint8_t *name; /* of a feature */
    uint32_t name_size;
    em_window *window;  /* its parts may be NULL: then a number is the caller's */
    em_watch *watch;    /* NULL: nobody watches */
    em_quality *quality; /* NULL: nobody asks */
    bool feature;
    bool special;       /* its column holds more than numbers */
    uint64_t stamp;     /* of the last prediction that had it */
} em_stream;

typedef struct em_model {
    uint8_t *key; /* model, then version */
    uint32_t model_size, version_size;
    uint64_t hash;
    em_stream *streams;
    uint32_t stream_count, stream_room;
    uint32_t feature_streams;
    uint32_t *index; /* of features by name: slot + 1, 0 is empty */
    uint32_t index_mask;
    uint32_t *order; /* stream_room: the slots of the last prediction's features */
    uint32_t *positions; /* slots of features that come as a list of positions_length */
    uint32_t positions_length;
    int32_t output, latency, confidence, entropy; /* slots; -1: none */
    uint32_t features; /* that a prediction should have */
    bool slow;         /* all its predictions are the caller's */
    bool keep;         /* raw rows instead of showing */
    bool joins;        /* set by em_table_join; then its vectors are the caller's */
    bool vectors;      /* set by em_table_brief */
    bool every;        /* all gaps are 0 */
    uint32_t gap_count, gap_next; /* of `gaps`, those from gap_next on are to be used */
    uint64_t gaps[EM_GAPS];
    bool eager;        /* the caller empties the block before he looks at one that is shown */
    uint64_t skip;     /* so many need no look, then one does */
    uint64_t stamp;
    em_rows *rows; /* NULL: nobody asks */
    void *owner; /* the caller's */
} em_model;

/* Of one vector in the block. */
typedef struct em_vector {
    em_brief brief;
    uint32_t row, width;
} em_vector;

typedef struct em_table {
    em_model **models;
    uint32_t model_count, model_room;
    uint32_t *index; /* model + 1, 0 is empty */
    uint32_t index_mask;
    em_model *last; /* found last */
    uint64_t seed;
    double *block; /* column s begins at s * block_capacity; the times are behind the last stream's */
    uint8_t *ids;  /* one after the other */
    uint32_t ids_size;
    uint32_t kept;                   /* so many are raw rows */
    uint32_t kept_rows[EM_BLOCK_ROWS];
    int32_t id_sizes[EM_BLOCK_ROWS]; /* of each of them; -1: it has none */
    uint64_t *join_ids;              /* EM_BLOCK_ROWS, of the rows that have one; NULL while no model joins */
    uint32_t join_count;
    uint32_t join_rows[EM_BLOCK_ROWS]; /* which they are */
    em_vector *vectors;              /* EM_BLOCK_ROWS; NULL while no model gives some */
    uint32_t vector_count;
    em_model *block_model;
    uint32_t block_count, block_capacity;
    uint32_t slot, part, at; /* where em_table_next goes on */
    double wall_s;     /* the clock as events come in; NaN: unknown */
    bool some_same;    /* whether any row of the block may repeat the one before */
    uint8_t same[EM_BLOCK_ROWS];
    uint8_t wrong[EM_BLOCK_ROWS]; /* bits of em_rows */
} em_table;

/* seed: random, so that a client cannot choose collisions.  0, or -1 when there is no memory. */
int em_table_init(em_table *table, uint64_t seed);
/* Models that are still in it are freed too. */
void em_table_free(em_table *table);

/* A model that is not in the table yet, slow. NULL when there is no memory. O(models). */
em_model *em_table_add(em_table *table, const uint8_t *model, uint32_t model_size,
                       const uint8_t *version, uint32_t version_size);
/* The model is freed. The block must be empty. O(models). */
void em_table_remove(em_table *table, em_model *model);

/* A stream of the model, its slot; the block must be empty. name: of a feature, else ignored; size 0: it is found by
 * position alone. -1 when there is no memory. O(streams). */
int32_t em_model_add(em_table *table, em_model *model, em_role role, const uint8_t *name,
                     uint32_t name_size, em_window *window, em_watch *watch, em_quality *quality);
/* Features that come as a list of `length` are these slots. 0, or -1 when there is no memory. */
int em_model_set_positions(em_model *model, const uint32_t *slots, uint32_t length);
/* Whether ids of the model are held; the block must be empty. 0, or -1 when there is no memory. */
int em_table_join(em_table *table, em_model *model, bool joins);
/* Whether vectors of the model are taken, which has streams for confidence and entropy; the block must be empty. 0, or -1
 * when there is no memory. */
int em_table_brief(em_table *table, em_model *model, bool vectors);
/* Forgets the streams; the block must be empty. */
void em_model_clear(em_model *model);

typedef enum em_taken {
    EM_TAKEN,
    EM_SHOWN, /* taken, and to be looked at */
    EM_FULL,  /* empty the block, then give the event again */
    EM_SLOW,  /* the caller's; not taken */
} em_taken;

em_taken em_table_take(em_table *table, const em_event *event);

/* Decodes and takes events until one is more than taken or the bytes end. EM_EVENT: *taken says what *event is.
 * *used: bytes that are done with, in all, those of *event included; the decoder's places count from
 * *last on. */
em_verdict em_table_feed(em_table *table, em_decoder *decoder, em_framing *framing,
                         const uint8_t *buf, size_t size, bool ended, size_t *used, size_t *last,
                         em_event *event, em_taken *taken);

/* Entry `row` of a column, `stream_count` for the time: false where there is none, or it was missing. */
bool em_table_cell(const em_table *table, uint32_t column, uint32_t row, double *x);

/* Empties the block until a watch, a quality or the rows tell something: what (EM_WATCH_..., or by EM_TOLD_QUALITY bits
 * of em_quality.h), in which slot, the number of streams for the rows, at which prediction of the block, from 0. 0: all is
 * done; then the block is empty, and what was in it can be read until the next prediction is taken. */
#define EM_TOLD_QUALITY (1u << 16)
unsigned em_table_next(em_table *table, uint32_t *slot, uint32_t *at);

#endif
