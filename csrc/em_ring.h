/* A ring of doubles: the last `capacity` values, oldest overwritten first.
 *
 * Ownership: em_ring_init allocates `values`, em_ring_free releases it; nothing else allocates.
 * Range: 1 <= capacity <= EM_RING_MAX.  Any double may be kept, NaN too.
 * Complexity: push and at are O(1).
 * Memory: sizeof(em_ring) + 8 * capacity bytes.
 */
#ifndef EM_RING_H
#define EM_RING_H

#include <stddef.h>
#include <stdint.h>

#define EM_RING_MAX UINT32_C(0x10000000)

typedef struct {
    double *values;
    uint32_t capacity;
    uint32_t length; /* values held now */
    uint32_t next;   /* where the next value goes, < capacity */
} em_ring;

/* 0, or -1 when there is no memory. */
int em_ring_init(em_ring *ring, uint32_t capacity);
void em_ring_free(em_ring *ring);
void em_ring_clear(em_ring *ring);
void em_ring_push(em_ring *ring, double x);
/* The i-th value, oldest first; i < length. */
double em_ring_at(const em_ring *ring, uint32_t i);
size_t em_ring_memory(const em_ring *ring);

#endif
