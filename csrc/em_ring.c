#include "em_ring.h"

#include <assert.h>
#include <stdlib.h>

int em_ring_init(em_ring *ring, uint32_t capacity)
{
    assert(capacity >= 1 && capacity <= EM_RING_MAX);
    ring->values = calloc(capacity, sizeof *ring->values);
    ring->capacity = capacity;
    em_ring_clear(ring);
    return ring->values == NULL ? -1 : 0;
}

void em_ring_free(em_ring *ring)
{
    free(ring->values);
    ring->values = NULL;
}

void em_ring_clear(em_ring *ring)
{
    ring->length = 0;
    ring->next = 0;
}

void em_ring_push(em_ring *ring, double x)
{
    ring->values[ring->next] = x;
    ring->next = ring->next + 1 == ring->capacity ? 0 : ring->next + 1;
    if (ring->length < ring->capacity)
        ring->length++;
}

double em_ring_at(const em_ring *ring, uint32_t i)
{
    assert(i < ring->length);
    uint32_t first = ring->length < ring->capacity ? 0 : ring->next;
    uint32_t to_end = ring->capacity - first;
    return ring->values[i < to_end ? first + i : i - to_end];
}

size_t em_ring_memory(const em_ring *ring)
{
    return sizeof *ring + (size_t)ring->capacity * sizeof *ring->values;
}
