#include "em_ks.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

#include "em_gcd.h"

enum {
    LANES = EM_KS_LANES,
    TRACKED_ROWS = 256, /* from here on a full scan costs more than to keep account of the lanes */
    AHEAD = 4, /* reference values compared at once */
    GROUP = 32, /* values whose searches overlap */
};

static inline void prefetch(const void *address)
{
#if defined(__GNUC__)
    __builtin_prefetch(address);
#else
    (void)address;
#endif
}

/* --- reference ------------------------------------------------------------------------------- */

/* Monotone in x under IEEE rounding, which is all that the search needs of it: subtraction,
 * multiplication and truncation never reverse an order. Clamped first: converting an infinity or
 * 1e300 to an integer is undefined. `high` itself comes to guide_cells, give or take a rounding. */
static inline uint32_t cell_of(const em_reference *ref, double x)
{
    x = x > ref->low ? x : ref->low;
    x = x < ref->high ? x : ref->high;
    return (uint32_t)((x - ref->low) * ref->scale);
}

/* How many reference values are < x. Those of lower cells are, those of higher cells are not, so it
 * does no harm to look past the end of the cell: a fixed number of comparisons, without a branch to
 * mispredict, settles all but crowded cells. */
static inline uint32_t lower_bound_in(const em_reference *ref, uint32_t cell, double x)
{
    uint32_t low = ref->guide[cell];
    const double *values = ref->values + low;
    uint32_t smaller = 0;
    for (int i = 0; i < AHEAD; i++)
        smaller += values[i] < x;
    low += smaller;
    if (smaller < AHEAD)
        return low;
    uint32_t high = ref->guide[cell + 1];
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (ref->values[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static inline uint32_t lower_bound(const em_reference *ref, double x)
{
    return lower_bound_in(ref, cell_of(ref, x), x);
}

/* Spans all but the outer 64ths, so that a few outliers do not crowd the rest into one cell. */
static void span_guide(em_reference *ref)
{
    uint32_t first = ref->u / 64, last = ref->u - 1 - first;
    while (first < last && isinf(ref->values[first]))
        first++;
    while (last > first && isinf(ref->values[last]))
        last--;
    ref->low = ref->values[first];
    ref->high = ref->values[last];
    ref->scale = (double)ref->guide_cells / (ref->high - ref->low);
    /* One value, a range of denormals or one beyond the largest double: one cell, halved. */
    if (!isfinite(ref->scale) || !isfinite(ref->high - ref->low)) {
        ref->scale = 0.0;
        ref->low = ref->high = 0.0;
    }
    uint32_t next = 0;
    for (uint32_t i = 0; i < ref->u; i++)
        for (uint32_t cell = cell_of(ref, ref->values[i]); next <= cell; next++)
            ref->guide[next] = i;
    for (; next <= ref->guide_cells + 1; next++)
        ref->guide[next] = ref->u;
}

int em_reference_init(em_reference *ref, const double *values, const uint32_t *counts, uint32_t u)
{
    assert(u >= 1 && u <= EM_KS_MAX_DISTINCT);
    ref->u = u;
    ref->guide_cells = u;
    ref->values = malloc(((size_t)u + AHEAD) * sizeof *ref->values);
    ref->cumulative = malloc(u * sizeof *ref->cumulative);
    ref->guide = malloc(((size_t)ref->guide_cells + 2) * sizeof *ref->guide);
    if (ref->values == NULL || ref->cumulative == NULL || ref->guide == NULL) {
        em_reference_free(ref);
        return -1;
    }
    uint32_t total = 0;
    for (uint32_t i = 0; i < u; i++) {
        assert(counts[i] >= 1 && counts[i] <= (uint32_t)EM_KS_MAX - total);
        assert(i == 0 || values[i - 1] < values[i]);
        total += counts[i];
        ref->values[i] = values[i];
        ref->cumulative[i] = total;
    }
    for (uint32_t i = 0; i < AHEAD; i++)
        ref->values[u + i] = NAN; /* neither < x nor == x */
    ref->m = total;
    span_guide(ref);
    return 0;
}

void em_reference_free(em_reference *ref)
{
    free(ref->values);
    free(ref->cumulative);
    free(ref->guide);
    ref->values = NULL;
    ref->cumulative = NULL;
    ref->guide = NULL;
}

uint32_t em_reference_bucket(const em_reference *ref, double x)
{
    uint32_t i = lower_bound(ref, x);
    return 2 * i + (ref->values[i] == x); /* values[u] equals nothing */
}

uint32_t em_reference_rank(const em_reference *ref, double x)
{
    uint32_t i = lower_bound(ref, x);
    if (i < ref->u && ref->values[i] == x)
        return ref->cumulative[i];
    return i == 0 ? 0 : ref->cumulative[i - 1];
}

size_t em_reference_memory(const em_reference *ref)
{
    return sizeof *ref + ((size_t)ref->u + AHEAD) * sizeof *ref->values +
           ref->u * sizeof *ref->cumulative +
           ((size_t)ref->guide_cells + 2) * sizeof *ref->guide;
}

static uint32_t multiplicity(const em_reference *ref, uint32_t i)
{
    return ref->cumulative[i] - (i == 0 ? 0 : ref->cumulative[i - 1]);
}

/* --- steps ----------------------------------------------------------------------------------- */

/* Striped: lane l holds the buckets [l * rows, (l + 1) * rows), so that one row of 16 neighbours in
 * memory advances 16 independent prefix sums, which a compiler turns into vector instructions. The
 * slots behind the last bucket stay 0. Exact: buckets * rows < 2^55. */
static inline uint32_t slot_of(const em_ks *ks, uint32_t bucket)
{
    uint32_t lane = (uint32_t)((bucket * ks->inverse_rows) >> 58);
    return (bucket - lane * ks->rows) * LANES + lane;
}

static int64_t step_at(const em_ks *ks, uint32_t slot)
{
    switch (ks->step_bytes) {
    case 2:
        return ((const int16_t *)ks->steps)[slot];
    case 4:
        return ((const int32_t *)ks->steps)[slot];
    default:
        return ((const int64_t *)ks->steps)[slot];
    }
}

static void set_step(em_ks *ks, uint32_t slot, int64_t step)
{
    switch (ks->step_bytes) {
    case 2:
        ((int16_t *)ks->steps)[slot] = (int16_t)step;
        break;
    case 4:
        ((int32_t *)ks->steps)[slot] = (int32_t)step;
        break;
    default:
        ((int64_t *)ks->steps)[slot] = step;
    }
}

static uint32_t count_at(const em_ks *ks, uint32_t bucket)
{
    int64_t whole = bucket % 2 ? ks->w_r * multiplicity(ks->reference, bucket / 2) : 0;
    return (uint32_t)((whole - step_at(ks, slot_of(ks, bucket))) / ks->w_w);
}

/* Of each lane the sum, and the largest and smallest prefix sum (the empty one, 0, is among them).
 * Every sum over neighbouring buckets lies within [-lcm, lcm], so that the narrow type is enough. */
#define DEFINE_SCAN(name, type, attribute)                                                         \
    attribute static void name(const type *restrict steps, size_t rows, em_ks_lanes *lanes)        \
    {                                                                                              \
        type sum[LANES] = {0}, top[LANES] = {0}, bottom[LANES] = {0};                              \
        for (size_t row = 0; row < rows; row++) {                                                  \
            /* Left whole, gcc vectorises this loop in registers; peeled first, it spills. */      \
            _Pragma("GCC unroll 1") for (int lane = 0; lane < LANES; lane++)                       \
            {                                                                                      \
                type value = (type)(sum[lane] + steps[row * LANES + (size_t)lane]);                \
                sum[lane] = value;                                                                 \
                top[lane] = value > top[lane] ? value : top[lane];                                 \
                bottom[lane] = value < bottom[lane] ? value : bottom[lane];                        \
            }                                                                                      \
        }                                                                                          \
        for (int lane = 0; lane < LANES; lane++) {                                                 \
            lanes->sums[lane] = sum[lane];                                                         \
            lanes->tops[lane] = top[lane];                                                         \
            lanes->bottoms[lane] = bottom[lane];                                                   \
        }                                                                                          \
    }

DEFINE_SCAN(scan_2, int16_t, )
DEFINE_SCAN(scan_4, int32_t, )
DEFINE_SCAN(scan_8, int64_t, )

#if !defined(EM_PORTABLE) && defined(__x86_64__) && defined(__GNUC__)
#define HAVE_AVX2 1
/* SSE2, which is all that x86-64 promises, has no 32-bit maximum: AVX2 is five times faster. */
DEFINE_SCAN(scan_2_avx2, int16_t, __attribute__((target("avx2"))))
DEFINE_SCAN(scan_4_avx2, int32_t, __attribute__((target("avx2"))))
DEFINE_SCAN(scan_8_avx2, int64_t, __attribute__((target("avx2"))))
#endif

static void scan_lanes(const em_ks *ks, em_ks_lanes *lanes)
{
#if defined(HAVE_AVX2)
    if (ks->wide_vectors) {
        if (ks->step_bytes == 2)
            scan_2_avx2(ks->steps, ks->rows, lanes);
        else if (ks->step_bytes == 4)
            scan_4_avx2(ks->steps, ks->rows, lanes);
        else
            scan_8_avx2(ks->steps, ks->rows, lanes);
        return;
    }
#endif
    if (ks->step_bytes == 2)
        scan_2(ks->steps, ks->rows, lanes);
    else if (ks->step_bytes == 4)
        scan_4(ks->steps, ks->rows, lanes);
    else
        scan_8(ks->steps, ks->rows, lanes);
}

/* h now. */
static int64_t scan(em_ks *ks)
{
    em_ks_lanes local, *lanes = ks->lanes != NULL ? ks->lanes : &local;
    scan_lanes(ks, lanes);
    int64_t highest = 0, lowest = 0, before = 0;
    for (int lane = 0; lane < LANES; lane++) {
        int64_t high = before + lanes->tops[lane], low = before + lanes->bottoms[lane];
        highest = high > highest ? high : highest;
        lowest = low < lowest ? low : lowest;
        before += lanes->sums[lane];
        lanes->changes[lane] = 0;
    }
    return highest > -lowest ? highest : -lowest;
}

/* What h is not larger than: the sums of the lanes are known, and within a lane no prefix sum has
 * moved by more than the steps that changed in it. */
static int64_t upper_bound(const em_ks *ks)
{
    const em_ks_lanes *lanes = ks->lanes;
    int64_t largest = 0, before = 0;
    for (int lane = 0; lane < LANES; lane++) {
        int64_t slack = lanes->changes[lane] * ks->w_w;
        int64_t high = before + lanes->tops[lane] + slack;
        int64_t low = slack - before - lanes->bottoms[lane];
        largest = high > largest ? high : largest;
        largest = low > largest ? low : largest;
        before += lanes->sums[lane];
    }
    return largest;
}

/* --- window ---------------------------------------------------------------------------------- */

int em_ks_init(em_ks *ks, const em_reference *reference, uint32_t n, int64_t threshold)
{
    assert(n >= 1 && n <= EM_KS_MAX && threshold >= 1);
    int64_t m = reference->m, g = (int64_t)em_gcd((uint64_t)m, n);
    ks->reference = reference;
    ks->n = n;
    ks->threshold = threshold;
    ks->scan_interval = 1;
    ks->w_r = n / g;
    ks->w_w = m / g;
    ks->lcm = m * ks->w_r;
    ks->step_bytes = ks->lcm <= INT16_MAX ? 2 : ks->lcm <= INT32_MAX ? 4 : 8;
    ks->buckets = 2 * reference->u + 1;
    ks->rows = (ks->buckets + LANES - 1) / LANES;
    ks->inverse_rows = ((UINT64_C(1) << 58) + ks->rows - 1) / ks->rows;
    ks->slot_bytes = ks->buckets <= UINT32_C(65536) ? 2 : 4;
#if defined(HAVE_AVX2)
    ks->wide_vectors = __builtin_cpu_supports("avx2") != 0;
#else
    ks->wide_vectors = false;
#endif
    ks->steps = calloc((size_t)ks->rows * LANES, ks->step_bytes);
    ks->ring = calloc(n, ks->slot_bytes);
    bool tracked = ks->rows >= TRACKED_ROWS && ks->step_bytes < 8;
    ks->lanes = tracked ? calloc(1, sizeof *ks->lanes) : NULL;
    if (ks->steps == NULL || ks->ring == NULL || (tracked && ks->lanes == NULL)) {
        em_ks_free(ks);
        return -1;
    }
    em_ks_reset(ks);
    return 0;
}

void em_ks_free(em_ks *ks)
{
    free(ks->steps);
    free(ks->ring);
    free(ks->lanes);
    ks->steps = NULL;
    ks->ring = NULL;
    ks->lanes = NULL;
}

void em_ks_reset(em_ks *ks)
{
    for (uint32_t i = 0; i < ks->reference->u; i++) {
        set_step(ks, slot_of(ks, 2 * i), 0);
        set_step(ks, slot_of(ks, 2 * i + 1), ks->w_r * multiplicity(ks->reference, i));
    }
    set_step(ks, slot_of(ks, 2 * ks->reference->u), 0);
    ks->filled = 0;
    ks->head = 0;
    ks->h = 0;
    ks->scanned_h = 0;
    ks->exact = false;
    ks->planned = 0;
    ks->due = 0;
    ks->scans = 0;
    ks->above = false;
}

/* The first slide after a look that found h, or what h is not larger than, at which the decision
 * could be another. */
static int64_t slides_until_open(const em_ks *ks)
{
    if (ks->h < ks->threshold)
        return (ks->threshold - ks->h - 1) / ks->w_w + 1;
    return ks->exact ? (ks->h - ks->threshold) / ks->w_w + 1 : 1;
}

static void plan(em_ks *ks, int64_t since_scan)
{
    int64_t slides = slides_until_open(ks);
    slides = slides < ks->scan_interval ? ks->scan_interval : slides;
    ks->planned = slides > since_scan ? slides : since_scan + 1;
    ks->due = ks->planned - since_scan;
    ks->above = ks->exact && ks->h >= ks->threshold;
}

static void scan_and_plan(em_ks *ks)
{
    ks->h = ks->scanned_h = scan(ks);
    ks->exact = true;
    ks->scans++;
    plan(ks, 0);
}

/* A look is due. A bound that leaves a good part of the distance that the last scan found makes
 * another scan unnecessary; were a small part enough, there would be a look at every slide soon. */
static void look_and_plan(em_ks *ks)
{
    if (ks->lanes != NULL && !ks->above) {
        int64_t bound = upper_bound(ks), distance = ks->threshold - ks->scanned_h;
        if (bound < ks->threshold && ks->threshold - bound >= distance / 4) {
            ks->h = bound;
            ks->exact = false;
            plan(ks, 0);
            return;
        }
    }
    scan_and_plan(ks);
}

/* Keeps account of a step that changed. */
static inline void track(em_ks_lanes *lanes, uint32_t slot, int64_t addend)
{
    lanes->sums[slot % LANES] += addend;
    lanes->changes[slot % LANES]++;
}

/* Takes x in and the oldest out. `type` is that of a step, `slot_type` that of a ring entry. */
#define SLIDE(type, slot_type)                                                                     \
    do {                                                                                           \
        type *steps = ks->steps;                                                                   \
        slot_type *place = (slot_type *)ks->ring + ks->head;                                       \
        oldest = *place;                                                                           \
        steps[slot] = (type)(steps[slot] - w_w);                                                   \
        if (full)                                                                                  \
            steps[oldest] = (type)(steps[oldest] + w_w);                                           \
        *place = (slot_type)slot;                                                                  \
    } while (0)

bool em_ks_push(em_ks *ks, double x)
{
    uint32_t slot = slot_of(ks, em_reference_bucket(ks->reference, x)), oldest;
    int64_t w_w = ks->w_w;
    bool full = ks->filled == ks->n;
    if (ks->step_bytes == 2 && ks->slot_bytes == 2)
        SLIDE(int16_t, uint16_t);
    else if (ks->step_bytes == 4 && ks->slot_bytes == 2)
        SLIDE(int32_t, uint16_t);
    else if (ks->step_bytes == 4)
        SLIDE(int32_t, uint32_t);
    else if (ks->slot_bytes == 2)
        SLIDE(int64_t, uint16_t);
    else
        SLIDE(int64_t, uint32_t);
    if (ks->lanes != NULL && full) {
        track(ks->lanes, slot, -w_w);
        track(ks->lanes, oldest, w_w);
    }
    ks->head = ks->head + 1 == ks->n ? 0 : ks->head + 1;
    if (full) {
        if (--ks->due == 0)
            look_and_plan(ks);
    } else if (++ks->filled == ks->n) {
        scan_and_plan(ks);
    }
    return ks->above;
}

/* Step by step for all, so that no look into a large reference waits for another. count <= GROUP. */
static inline void find_slots(const em_ks *ks, const em_reference *ref, const double *x,
                              size_t count, uint32_t *slots)
{
    for (size_t i = 0; i < count; i++) {
        slots[i] = cell_of(ref, x[i]);
        prefetch(&ref->guide[slots[i]]);
    }
    for (size_t i = 0; i < count; i++)
        prefetch(&ref->values[ref->guide[slots[i]]]);
    for (size_t i = 0; i < count; i++) {
        uint32_t low = lower_bound_in(ref, slots[i], x[i]);
        slots[i] = slot_of(ks, 2 * low + (ref->values[low] == x[i]));
    }
}

/* `count` slides of a full window, none of which is due for a scan before the last is done. The
 * types are known and the ring's end is met between stretches: nothing is left in the loop but the
 * search, a slot and two steps. */
#define DEFINE_SLIDE_MANY(name, type, slot_type, tracked)                                          \
    static void name(em_ks *ks, const double *x, size_t count)                                     \
    {                                                                                              \
        const em_reference reference = *ks->reference;                                             \
        const em_ks local = *ks;                                                                   \
        type *restrict steps = local.steps;                                                        \
        const type w_w = (type)local.w_w;                                                          \
        uint32_t head = local.head;                                                                \
        em_ks_lanes *restrict lanes = local.lanes;                                                 \
        (void)lanes;                                                                               \
        while (count > 0) {                                                                        \
            size_t stretch = count < local.n - head ? count : local.n - head;                      \
            stretch = stretch < GROUP ? stretch : GROUP;                                           \
            slot_type *restrict ring = (slot_type *)local.ring + head;                             \
            uint32_t slots[GROUP];                                                                 \
            find_slots(&local, &reference, x, stretch, slots);                                     \
            for (size_t i = 0; i < stretch; i++) {                                                 \
                uint32_t slot = slots[i], oldest = ring[i];                                        \
                ring[i] = (slot_type)slot;                                                         \
                steps[slot] = (type)(steps[slot] - w_w);                                           \
                steps[oldest] = (type)(steps[oldest] + w_w);                                       \
                if (tracked) {                                                                     \
                    track(lanes, slot, -w_w);                                                      \
                    track(lanes, oldest, w_w);                                                     \
                }                                                                                  \
            }                                                                                      \
            x += stretch;                                                                          \
            count -= stretch;                                                                      \
            head = head + (uint32_t)stretch == local.n ? 0 : head + (uint32_t)stretch;             \
        }                                                                                          \
        ks->head = head;                                                                           \
    }

DEFINE_SLIDE_MANY(slide_many_2_2, int16_t, uint16_t, false)
DEFINE_SLIDE_MANY(slide_many_2_2_tracked, int16_t, uint16_t, true)
DEFINE_SLIDE_MANY(slide_many_4_2, int32_t, uint16_t, false)
DEFINE_SLIDE_MANY(slide_many_4_2_tracked, int32_t, uint16_t, true)
DEFINE_SLIDE_MANY(slide_many_4_4_tracked, int32_t, uint32_t, true)
DEFINE_SLIDE_MANY(slide_many_8_2, int64_t, uint16_t, false)
DEFINE_SLIDE_MANY(slide_many_8_4, int64_t, uint32_t, false)

static void slide_many(em_ks *ks, const double *x, size_t count)
{
    bool tracked = ks->lanes != NULL;
    if (ks->step_bytes == 2) /* m < 2^15, so slots have 2 bytes */
        (tracked ? slide_many_2_2_tracked : slide_many_2_2)(ks, x, count);
    else if (ks->step_bytes == 4 && ks->slot_bytes == 2)
        (tracked ? slide_many_4_2_tracked : slide_many_4_2)(ks, x, count);
    else if (ks->step_bytes == 4) /* many rows, so they are tracked */
        slide_many_4_4_tracked(ks, x, count);
    else if (ks->slot_bytes == 2)
        slide_many_8_2(ks, x, count);
    else
        slide_many_8_4(ks, x, count);
}

uint64_t em_ks_quiet(const em_ks *ks)
{
    if (ks->filled < ks->n)
        return ks->n - ks->filled;
    return ks->above ? 1 : (uint64_t)ks->due;
}

size_t em_ks_push_until(em_ks *ks, const double *x, size_t count, bool *crossed)
{
    size_t done = 0;
    *crossed = false;
    while (done < count && !*crossed) {
        if (ks->filled < ks->n || ks->above) {
            *crossed = em_ks_push(ks, x[done++]);
            continue;
        }
        /* Nothing can be reached before the next scan is due. */
        size_t quiet = count - done;
        quiet = (uint64_t)ks->due < quiet ? (size_t)ks->due : quiet;
        slide_many(ks, x + done, quiet);
        done += quiet;
        ks->due -= (int64_t)quiet;
        if (ks->due == 0)
            look_and_plan(ks);
        *crossed = ks->above;
    }
    return done;
}

int64_t em_ks_h(em_ks *ks)
{
    if (ks->filled < ks->n)
        return em_ks_locate(ks).h;
    if (ks->due != ks->planned || !ks->exact)
        scan_and_plan(ks);
    return ks->h;
}

em_ks_peak em_ks_locate(const em_ks *ks)
{
    em_ks_peak peak = {.h = 0, .lcm = ks->reference->m, .bucket = 0, .direction = 0};
    if (ks->filled == 0)
        return peak;
    int64_t g = (int64_t)em_gcd(ks->reference->m, ks->filled);
    int64_t w_r = ks->filled / g, w_w = ks->reference->m / g, p = 0;
    peak.lcm = ks->reference->m * w_r;
    for (uint32_t bucket = 0; bucket < ks->buckets; bucket++) {
        p -= w_w * count_at(ks, bucket);
        p += bucket % 2 ? w_r * multiplicity(ks->reference, bucket / 2) : 0;
        if ((p < 0 ? -p : p) > peak.h) {
            peak.h = p < 0 ? -p : p;
            peak.bucket = bucket;
            peak.direction = p < 0 ? -1 : 1;
        }
    }
    return peak;
}

void em_ks_counts(const em_ks *ks, uint32_t *counts)
{
    for (uint32_t bucket = 0; bucket < ks->buckets; bucket++)
        counts[bucket] = count_at(ks, bucket);
}

void em_ks_buckets(const em_ks *ks, uint32_t *buckets)
{
    uint32_t place = ks->filled == ks->n ? ks->head : 0;
    for (uint32_t i = 0; i < ks->filled; i++) {
        uint32_t slot = ks->slot_bytes == 2 ? ((const uint16_t *)ks->ring)[place]
                                            : ((const uint32_t *)ks->ring)[place];
        buckets[i] = slot % LANES * ks->rows + slot / LANES; /* the inverse of slot_of */
        place = place + 1 == ks->n ? 0 : place + 1;
    }
}

void em_ks_set_threshold(em_ks *ks, int64_t threshold)
{
    assert(threshold >= 1);
    ks->threshold = threshold;
    if (ks->filled == ks->n)
        plan(ks, ks->planned - ks->due);
}

void em_ks_set_scan_interval(em_ks *ks, uint32_t slides)
{
    assert(slides >= 1);
    ks->scan_interval = slides;
    if (ks->filled == ks->n)
        plan(ks, ks->planned - ks->due);
}

size_t em_ks_memory(const em_ks *ks)
{
    return sizeof *ks + (size_t)ks->rows * LANES * ks->step_bytes +
           (size_t)ks->n * ks->slot_bytes + (ks->lanes != NULL ? sizeof *ks->lanes : 0);
}
