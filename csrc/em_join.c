#include "em_join.h"

#include <stdlib.h>
#include <string.h>

/* --- SipHash-2-4 ------------------------------------------------------------------------------ */

static uint64_t rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

/* The bytes as a number of little endian, on every machine. */
static uint64_t little(const uint8_t *data, size_t size)
{
    uint64_t x = 0;
    for (size_t i = 0; i < size; i++)
        x |= (uint64_t)data[i] << 8 * i;
    return x;
}

uint64_t em_siphash(uint64_t key0, uint64_t key1, const uint8_t *data, size_t size)
{
    uint64_t v[4] = {
        key0 ^ UINT64_C(0x736f6d6570736575),
        key1 ^ UINT64_C(0x646f72616e646f6d),
        key0 ^ UINT64_C(0x6c7967656e657261),
        key1 ^ UINT64_C(0x7465646279746573),
    };
    uint64_t last = (uint64_t)size << 56;
    for (; size >= 8; size -= 8, data += 8) {
        uint64_t part = little(data, 8);
        v[3] ^= part;
        sip_round(v);
        sip_round(v);
        v[0] ^= part;
    }
    last |= little(data, size);
    v[3] ^= last;
    sip_round(v);
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int i = 0; i < 4; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t em_join_id(uint64_t seed, const uint8_t *id, size_t size)
{
    return em_siphash(seed, ~seed, id, size);
}

/* --- ring and index --------------------------------------------------------------------------- */

enum { FIRST_ROOM = 64 };

static bool has_bytes(const em_wait *wait)
{
    return wait->kind == EM_WAIT_TEXT || wait->kind == EM_WAIT_VECTOR;
}

static uint32_t place_of(const em_waiting *waiting, uint32_t nth)
{
    uint32_t place = waiting->first + nth;
    return place < waiting->room ? place : place - waiting->room;
}

static uint32_t slot_of(const em_waiting *waiting, uint64_t id)
{
    uint32_t i = (uint32_t)id & waiting->index_mask;
    while (waiting->index[i] != 0 && waiting->ring[waiting->index[i] - 1].id != id)
        i = (i + 1) & waiting->index_mask;
    return i;
}

/* The slots behind it move up, so that none is cut off from where its search begins. */
static void unindex(em_waiting *waiting, uint32_t slot)
{
    uint32_t mask = waiting->index_mask;
    for (uint32_t i = (slot + 1) & mask; waiting->index[i] != 0; i = (i + 1) & mask) {
        uint32_t home = (uint32_t)waiting->ring[waiting->index[i] - 1].id & mask;
        if (((i - home) & mask) >= ((i - slot) & mask)) {
            waiting->index[slot] = waiting->index[i];
            slot = i;
        }
    }
    waiting->index[slot] = 0;
}

/* Moves what is not gone into another ring, of `room` places. */
static int move(em_waiting *waiting, uint32_t room)
{
    uint32_t slots = 1;
    while (slots < room + room / 2)
        slots *= 2;
    em_wait *ring = malloc(room * sizeof *ring);
    uint32_t *index = calloc(slots, sizeof *index);
    if (ring == NULL || index == NULL) {
        free(ring);
        free(index);
        return -1;
    }
    uint32_t count = 0;
    for (uint32_t n = 0; n < waiting->places; n++) {
        const em_wait *wait = &waiting->ring[place_of(waiting, n)];
        if (wait->kind != EM_WAIT_GONE)
            ring[count++] = *wait;
    }
    free(waiting->ring);
    free(waiting->index);
    waiting->ring = ring;
    waiting->room = room;
    waiting->first = 0;
    waiting->places = count;
    waiting->index = index;
    waiting->index_mask = slots - 1;
    for (uint32_t place = 0; place < count; place++)
        index[slot_of(waiting, ring[place].id)] = place + 1;
    return 0;
}

static uint32_t most_room(const em_waiting *waiting)
{
    return waiting->keep + waiting->keep / 4 + 16;
}

/* A free place at the ring's end. */
static int make_room(em_waiting *waiting)
{
    if (waiting->places < waiting->room)
        return 0;
    uint32_t most = most_room(waiting);
    if (waiting->room == most || waiting->count < waiting->places - waiting->places / 4)
        return move(waiting, waiting->room);
    uint32_t room = waiting->room == 0 ? FIRST_ROOM : waiting->room * 2;
    return move(waiting, room < most ? room : most);
}

/* --- entries ---------------------------------------------------------------------------------- */

void em_waiting_init(em_waiting *waiting, uint32_t keep, uint64_t max_bytes, double ttl_s)
{
    memset(waiting, 0, sizeof *waiting);
    waiting->keep = keep;
    waiting->max_bytes = max_bytes;
    waiting->ttl_s = ttl_s;
}

void em_waiting_free(em_waiting *waiting)
{
    for (uint32_t n = 0; n < waiting->places; n++) {
        em_wait *wait = &waiting->ring[place_of(waiting, n)];
        if (has_bytes(wait))
            free(wait->value.bytes);
    }
    free(waiting->ring);
    free(waiting->index);
}

em_wait *em_waiting_find(const em_waiting *waiting, uint64_t id)
{
    if (waiting->count == 0)
        return NULL;
    uint32_t place = waiting->index[slot_of(waiting, id)];
    return place == 0 ? NULL : &waiting->ring[place - 1];
}

void em_waiting_answer(em_waiting *waiting, em_wait *wait)
{
    if (has_bytes(wait)) {
        free(wait->value.bytes);
        waiting->bytes -= wait->size;
    }
    wait->kind = EM_WAIT_ANSWERED;
}

static void pop_gone(em_waiting *waiting)
{
    while (waiting->places > 0 && waiting->ring[waiting->first].kind == EM_WAIT_GONE) {
        waiting->first = place_of(waiting, 1);
        waiting->places--;
    }
}

void em_waiting_take(em_waiting *waiting, em_wait *wait)
{
    unindex(waiting, slot_of(waiting, wait->id));
    em_waiting_answer(waiting, wait);
    wait->kind = EM_WAIT_GONE;
    waiting->bytes -= EM_WAIT_BYTES;
    waiting->count--;
    pop_gone(waiting);
}

/* Whether it was not answered. There must be one. */
static bool drop_oldest(em_waiting *waiting)
{
    em_wait *oldest = &waiting->ring[waiting->first];
    bool open = oldest->kind != EM_WAIT_ANSWERED;
    em_waiting_take(waiting, oldest);
    return open;
}

int em_waiting_put(em_waiting *waiting, uint64_t id, double at_s, uint16_t tag, em_wait_kind kind,
                   const void *value, uint32_t size, uint32_t *lost)
{
    em_wait made = {.id = id, .at_s = at_s, .tag = tag, .kind = (uint8_t)kind};
    *lost = 0;
    if (make_room(waiting))
        return -1;
    if (kind == EM_WAIT_NUMBER) {
        memcpy(&made.value.number, value, sizeof made.value.number);
    } else if (has_bytes(&made)) {
        made.size = size;
        made.value.bytes = malloc(size > 0 ? size : 1);
        if (made.value.bytes == NULL)
            return -1;
        memcpy(made.value.bytes, value, size);
    }
    uint32_t place = place_of(waiting, waiting->places);
    waiting->index[slot_of(waiting, id)] = place + 1;
    waiting->ring[place] = made;
    waiting->places++;
    waiting->count++;
    waiting->bytes += EM_WAIT_BYTES + made.size;
    while (waiting->count > waiting->keep || waiting->bytes > waiting->max_bytes)
        *lost += drop_oldest(waiting);
    return 0;
}

uint32_t em_waiting_expire(em_waiting *waiting, double now_s)
{
    uint32_t lost = 0;
    while (waiting->count > 0 && now_s - waiting->ring[waiting->first].at_s >= waiting->ttl_s)
        lost += drop_oldest(waiting);
    return lost;
}

uint32_t em_waiting_clear(em_waiting *waiting)
{
    uint32_t lost = 0;
    for (uint32_t n = 0; n < waiting->places; n++)
        lost += waiting->ring[place_of(waiting, n)].kind < EM_WAIT_ANSWERED;
    em_waiting_free(waiting);
    em_waiting_init(waiting, waiting->keep, waiting->max_bytes, waiting->ttl_s);
    return lost;
}

void em_waiting_tags(const em_waiting *waiting, bool *used)
{
    for (uint32_t n = 0; n < waiting->places; n++) {
        const em_wait *wait = &waiting->ring[place_of(waiting, n)];
        if (wait->kind != EM_WAIT_GONE)
            used[wait->tag] = true;
    }
}

size_t em_waiting_memory(const em_waiting *waiting)
{
    size_t size = sizeof *waiting + waiting->room * sizeof *waiting->ring;
    if (waiting->room > 0)
        size += (waiting->index_mask + (size_t)1) * sizeof *waiting->index;
    return size;
}
