/* What waits for its other half: predictions for their truth, truths for their prediction. Entries by id, the oldest
 * first, at most `keep`, `max_bytes` and `ttl_s` old.
 *
 * Of an id its SipHash-2-4 under a secret key is kept, 64 bits, and not the id: of a million that wait, the next one
 * meets a wrong one once in 10^13 times, and nobody without the key can make two ids meet.
 *
 * Entries stand in a ring in the order in which they came; one that is taken out leaves its place until it is the oldest.
 * An index of open addressing finds them. Both grow with what waits, up to a quarter more than `keep` places, and stay.
 *
 * Source: J.-P. Aumasson, D. J. Bernstein, SipHash: a fast short-input PRF (2012).
 * Complexity: all O(1) on average, but em_waiting_free, _clear, _tags and growing, which are O(entries).
 */
#ifndef EM_JOIN_H
#define EM_JOIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    EM_WAIT_BYTES = 64, /* of memory that one entry is charged with, beside its value's bytes */
    EM_WAIT_TAGS = 65536,
};

typedef enum em_wait_kind {
    EM_WAIT_NUMBER,
    EM_WAIT_TEXT,
    EM_WAIT_VECTOR,   /* doubles */
    EM_WAIT_ANSWERED, /* no value any more; it stands for its id until it is old */
    EM_WAIT_GONE,     /* a place of the ring without an entry */
} em_wait_kind;

typedef struct em_wait {
    uint64_t id;
    double at_s;
    union {
        double number;
        uint8_t *bytes;
    } value;
    uint32_t size; /* of value.bytes */
    uint16_t tag;  /* the caller's */
    uint8_t kind;
} em_wait;

typedef struct em_waiting {
    em_wait *ring;
    uint32_t room, first, places; /* of the ring; in use from `first` on, those that are gone among them */
    uint32_t count;               /* entries */
    uint32_t *index;              /* place + 1, 0 is empty */
    uint32_t index_mask;
    uint32_t keep;
    uint64_t max_bytes, bytes; /* that they may be and are charged with */
    double ttl_s;
} em_waiting;

uint64_t em_siphash(uint64_t key0, uint64_t key1, const uint8_t *data, size_t size);

/* The id's place in every em_waiting of a process whose secret is `seed`. */
uint64_t em_join_id(uint64_t seed, const uint8_t *id, size_t size);

/* keep: 1 to 2^24.  ttl_s: may be infinite. */
void em_waiting_init(em_waiting *waiting, uint32_t keep, uint64_t max_bytes, double ttl_s);
void em_waiting_free(em_waiting *waiting);

/* NULL: it does not wait. Valid until the next put, take, expire or clear. */
em_wait *em_waiting_find(const em_waiting *waiting, uint64_t id);

/* As the newest; the id must not be in it. value: EM_WAIT_NUMBER's is a double, others' `size` bytes, copied. Then the
 * oldest go, itself among them where it alone is too large, until all fits: *lost, those of them that were not answered.
 * 0, or -1 when there is no memory: then nothing has changed. */
int em_waiting_put(em_waiting *waiting, uint64_t id, double at_s, uint16_t tag, em_wait_kind kind,
                   const void *value, uint32_t size, uint32_t *lost);

/* Its value goes, its place stays. */
void em_waiting_answer(em_waiting *waiting, em_wait *wait);
void em_waiting_take(em_waiting *waiting, em_wait *wait);

/* Those that are ttl_s old or older go; how many of them were not answered. */
uint32_t em_waiting_expire(em_waiting *waiting, double now_s);
/* All go, and the memory with them; how many were not answered. */
uint32_t em_waiting_clear(em_waiting *waiting);

/* used[tag] = true for each tag of an entry; EM_WAIT_TAGS of them. */
void em_waiting_tags(const em_waiting *waiting, bool *used);

/* Really allocated. */
size_t em_waiting_memory(const em_waiting *waiting);

#endif
