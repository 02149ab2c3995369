#include "em_sketch.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_LIMIT (UINT64_C(1) << 63)
#define LOG2_ERROR 4e-7 /* of rough_log2 */

int em_sketch_init(em_sketch *sketch, double relative_error, uint32_t max_bins)
{
    assert(relative_error >= EM_SKETCH_ERROR_MIN && relative_error <= EM_SKETCH_ERROR_MAX);
    assert(max_bins >= EM_SKETCH_BINS_MIN && max_bins <= EM_SKETCH_BINS_MAX);
    double gamma = (1.0 + relative_error) / (1.0 - relative_error);
    memset(sketch, 0, sizeof *sketch);
    sketch->relative_error = relative_error;
    sketch->max_bins = max_bins;
    sketch->log_gamma = log(gamma);
    sketch->log_middle = log(2.0 / (gamma + 1.0));
    sketch->bins_per_octave = log(2.0) / sketch->log_gamma;
    sketch->rough_margin = 2.0 * LOG2_ERROR * sketch->bins_per_octave;
    sketch->bins = calloc(max_bins, sizeof *sketch->bins);
    if (sketch->bins == NULL)
        return -1;
    em_sketch_reset(sketch);
    return 0;
}

void em_sketch_free(em_sketch *sketch)
{
    free(sketch->bins);
    sketch->bins = NULL;
}

void em_sketch_reset(em_sketch *sketch)
{
    memset(sketch->bins, 0, sketch->max_bins * sizeof *sketch->bins);
    memset(&sketch->positive, 0, sizeof sketch->positive);
    memset(&sketch->negative, 0, sizeof sketch->negative);
    sketch->zeros = 0;
    sketch->ninf = 0;
    sketch->pinf = 0;
    sketch->min = INFINITY;
    sketch->max = -INFINITY;
}

static uint64_t finite_count(const em_sketch *sketch)
{
    return sketch->positive.count + sketch->negative.count + sketch->zeros;
}

uint64_t em_sketch_count(const em_sketch *sketch)
{
    return finite_count(sketch) + sketch->ninf + sketch->pinf;
}

static int32_t exact_index(const em_sketch *sketch, double magnitude)
{
    return (int32_t)ceil(log(magnitude) / sketch->log_gamma);
}

/* log2 of 1 + u, 0 <= u < 1, at most LOG2_ERROR off: the polynomial through the Chebyshev nodes of degree 7. */
static inline double rough_log2(double u)
{
    double u2 = u * u, u4 = u2 * u2;
    double low = (3.6856140991914366e-07 + 1.4426475487298878 * u) +
                 (-0.7203160643585763 + 0.47208691624083166 * u) * u2;
    double high = (-0.3219602854519046 + 0.18875273772205503 * u) +
                  (-0.07565137467406657 + 0.014440352491874364 * u) * u2;
    return low + high * u4;
}

/* The position of a magnitude on the scale of bins, in bins: that of exact_index, but for `rough_margin`. Not of denormals
 * and 0. The exponent becomes a double by its bits, which has vector instructions everywhere. */
static inline double rough_position(const em_sketch *sketch, double magnitude)
{
    uint64_t bits, exponent_bits;
    memcpy(&bits, &magnitude, sizeof bits);
    exponent_bits = (bits >> 52) | UINT64_C(0x4330000000000000); /* 2^52 + exponent */
    bits = (bits & UINT64_C(0x000fffffffffffff)) | UINT64_C(0x3ff0000000000000);
    double mantissa, exponent;
    memcpy(&mantissa, &bits, sizeof mantissa);
    memcpy(&exponent, &exponent_bits, sizeof exponent);
    return ((exponent - (0x1p52 + 1023.0)) + rough_log2(mantissa - 1.0)) * sketch->bins_per_octave;
}

/* The whole number above a position, which is not near one: far smaller than 2^51. */
static inline double rough_bin(double position)
{
    return ((position + 0.5) + 0x1.8p52) - 0x1.8p52;
}

/* Whether a rough position tells the bin. */
static inline bool is_sure(const em_sketch *sketch, double position, double bin, double magnitude)
{
    return (fabs((bin - position) - 0.5) <= 0.5 - sketch->rough_margin) & (magnitude >= DBL_MIN);
}

/* A logarithm costs more than all else here. A rough one tells the bin, but for values near a border, one in some ten
 * thousand, which are asked exactly: the bin is always that of exact_index. */
static inline int32_t index_of(const em_sketch *sketch, double magnitude)
{
    double position = rough_position(sketch, magnitude), bin = rough_bin(position);
    return is_sure(sketch, position, bin, magnitude) ? (int32_t)bin : exact_index(sketch, magnitude);
}

static double middle_of(const em_sketch *sketch, int32_t index)
{
    return exp(index * sketch->log_gamma + sketch->log_middle);
}

/* Where a bin is, `high` being the largest of its sign. */
static uint64_t *bin_at(const em_sketch *sketch, bool negative, int32_t high, int32_t index)
{
    uint32_t below = (uint32_t)(high - index);
    assert(index <= high && below < sketch->max_bins);
    return &sketch->bins[negative ? below : sketch->max_bins - 1 - below];
}

static int32_t span_of(const em_sketch_side *side)
{
    return side->count == 0 ? 0 : side->high - side->low + 1;
}

/* Most bins that a side may take beside another that has `other_span`. Even in all: with an odd bin
 * to share, who gets it would depend on who came first. */
static int32_t room_beside(const em_sketch *sketch, int32_t other_span)
{
    int32_t half = (int32_t)(sketch->max_bins / 2);
    return other_span < half ? 2 * half - other_span : half;
}

static void collapse(em_sketch *sketch, bool negative, int32_t room)
{
    em_sketch_side *side = negative ? &sketch->negative : &sketch->positive;
    if (span_of(side) <= room)
        return;
    int32_t low = side->high - room + 1;
    uint64_t folded = 0;
    for (int32_t i = side->low; i < low; i++) {
        uint64_t *bin = bin_at(sketch, negative, side->high, i);
        folded += *bin;
        *bin = 0;
    }
    *bin_at(sketch, negative, side->high, low) += folded;
    side->low = low;
    side->collapsed = true;
}

/* Makes bins [low, high] countable on one side and returns the lowest that is left after
 * collapsing. The other side may collapse for it, down to its half. */
static int32_t make_room(em_sketch *sketch, bool negative, int32_t low, int32_t high)
{
    em_sketch_side *side = negative ? &sketch->negative : &sketch->positive;
    const em_sketch_side *other = negative ? &sketch->positive : &sketch->negative;
    if (side->count != 0) {
        low = side->low < low ? side->low : low;
        high = side->high > high ? side->high : high;
    }
    int32_t room = room_beside(sketch, span_of(other));
    int32_t span = high - low + 1;
    collapse(sketch, !negative, room_beside(sketch, span));
    if (span > room) {
        side->collapsed = true;
        low = high - room + 1;
    }
    if (side->count != 0 && side->high < high) {
        /* All that fall below `low` go into it; the rest moves away from the middle, low end first,
         * which never overwrites a bin that has still to move. */
        uint64_t folded = 0;
        for (int32_t i = side->low; i <= side->high; i++) {
            uint64_t *bin = bin_at(sketch, negative, side->high, i);
            uint64_t count = *bin;
            *bin = 0;
            if (i <= low)
                folded += count;
            else
                *bin_at(sketch, negative, high, i) = count;
        }
        if (folded != 0)
            *bin_at(sketch, negative, high, low) += folded;
        side->low = side->low > low ? side->low : low;
        side->high = high;
    } else if (side->count != 0) {
        collapse(sketch, negative, high - low + 1);
    }
    return low;
}

static void add(em_sketch *sketch, bool negative, int32_t index, uint64_t count)
{
    em_sketch_side *side = negative ? &sketch->negative : &sketch->positive;
    if (side->count == 0) {
        side->low = index;
        side->high = index;
    }
    side->low = index < side->low ? index : side->low;
    side->high = index > side->high ? index : side->high;
    side->count += count;
    *bin_at(sketch, negative, side->high, index) += count;
}

/* Without a branch: the signs of a stream are as good as random. */
static inline em_sketch_side *side_of(em_sketch *sketch, bool negative)
{
    const size_t positive = offsetof(em_sketch, positive);
    return (em_sketch_side *)((char *)sketch + positive +
                              negative * (offsetof(em_sketch, negative) - positive));
}

/* As bin_at, but without a branch. */
static inline uint32_t place_of(const em_sketch *sketch, bool negative, uint32_t below)
{
    uint32_t mirror = 0U - (uint32_t)!negative;
    return ((sketch->max_bins - 1) & mirror) + ((below ^ mirror) - mirror);
}

void em_sketch_push(em_sketch *sketch, double x)
{
    assert(!isnan(x));
    if (isinf(x)) {
        sketch->pinf += x > 0;
        sketch->ninf += x < 0;
        return;
    }
    x += 0.0; /* -0.0 becomes 0.0 */
    sketch->min = x < sketch->min ? x : sketch->min;
    sketch->max = x > sketch->max ? x : sketch->max;
    if (x == 0.0) {
        sketch->zeros++;
        return;
    }
    bool negative = x < 0.0;
    em_sketch_side *side = side_of(sketch, negative);
    int32_t index = index_of(sketch, fabs(x));
    if (side->count != 0 && side->low <= index && index <= side->high) {
        side->count++;
        sketch->bins[place_of(sketch, negative, (uint32_t)(side->high - index))]++;
        return;
    }
    int32_t low = make_room(sketch, negative, index, index);
    add(sketch, negative, index > low ? index : low, 1);
}

enum { GROUP = 8 }; /* values whose bins are found beside each other */

/* GROUP values at once, where each is 0 or falls into the bins that there are, and none is near a border; else false, and
 * nothing has changed. */
static inline bool push_group(em_sketch *sketch, const double *x)
{
    double bins[GROUP], positions[GROUP];
    /* Left whole, gcc makes vector instructions of this loop. */
    _Pragma("GCC unroll 1") for (int i = 0; i < GROUP; i++)
    {
        positions[i] = rough_position(sketch, fabs(x[i]));
        bins[i] = rough_bin(positions[i]);
    }
    uint32_t unsure = 0;
    const em_sketch_side *sides[2] = {&sketch->positive, &sketch->negative};
    int32_t low[2], high[2];
    for (int side = 0; side < 2; side++) {
        low[side] = sides[side]->count != 0 ? sides[side]->low : INT32_MAX;
        high[side] = sides[side]->high;
    }
    uint64_t zeros = 0, negatives = 0;
    uint32_t places[GROUP];
    for (int i = 0; i < GROUP; i++) {
        bool zero = x[i] == 0.0, negative = x[i] < 0.0;
        int32_t index = (int32_t)bins[i];
        bool sure = is_sure(sketch, positions[i], bins[i], fabs(x[i]));
        unsure |= (!sure | (index < low[negative]) | (index > high[negative])) & !zero;
        places[i] = place_of(sketch, negative, (uint32_t)(high[negative] - index));
        negatives += negative;
    }
    if (unsure)
        return false;
    for (int i = 0; i < GROUP; i++) {
        double value = x[i] + 0.0; /* -0.0 becomes 0.0 */
        sketch->min = value < sketch->min ? value : sketch->min;
        sketch->max = value > sketch->max ? value : sketch->max;
        ++*(value == 0.0 ? &zeros : &sketch->bins[places[i]]);
    }
    sketch->zeros += zeros;
    sketch->negative.count += negatives;
    sketch->positive.count += GROUP - zeros - negatives;
    return true;
}

void em_sketch_push_many(em_sketch *sketch, const double *x, size_t count)
{
    while (count > 0) {
        size_t n = count < GROUP ? count : GROUP;
        if (n < GROUP || !push_group(sketch, x)) {
            for (size_t i = 0; i < n; i++)
                em_sketch_push(sketch, x[i]);
        }
        x += n;
        count -= n;
    }
}

static void merge_side(em_sketch *sketch, const em_sketch *other, bool negative)
{
    const em_sketch_side *from = negative ? &other->negative : &other->positive;
    em_sketch_side *to = negative ? &sketch->negative : &sketch->positive;
    if (from->count == 0)
        return;
    int32_t low = make_room(sketch, negative, from->low, from->high);
    /* From the top, so that `high` is right from the first on. */
    for (int32_t i = from->high; i >= from->low; i--) {
        uint64_t count = *bin_at(other, negative, from->high, i);
        if (count != 0)
            add(sketch, negative, i > low ? i : low, count);
    }
    to->collapsed |= from->collapsed;
}

int em_sketch_merge(em_sketch *sketch, const em_sketch *other)
{
    assert(sketch != other && sketch->max_bins == other->max_bins);
    if (em_sketch_count(other) >= COUNT_LIMIT - em_sketch_count(sketch))
        return -1;
    merge_side(sketch, other, true);
    merge_side(sketch, other, false);
    sketch->zeros += other->zeros;
    sketch->ninf += other->ninf;
    sketch->pinf += other->pinf;
    sketch->min = other->min < sketch->min ? other->min : sketch->min;
    sketch->max = other->max > sketch->max ? other->max : sketch->max;
    return 0;
}

static double clamp(const em_sketch *sketch, double x)
{
    return x < sketch->min ? sketch->min : x > sketch->max ? sketch->max : x;
}

double em_sketch_quantile(const em_sketch *sketch, double q)
{
    assert(q >= 0.0 && q <= 1.0);
    uint64_t count = em_sketch_count(sketch), finite = finite_count(sketch);
    if (count == 0)
        return NAN;
    double position = floor(q * (double)(count - 1));
    uint64_t rank = position >= (double)(count - 1) ? count - 1 : (uint64_t)position;
    if (rank < sketch->ninf)
        return -INFINITY;
    rank -= sketch->ninf;
    if (rank >= finite)
        return INFINITY;
    if (rank == 0)
        return sketch->min;
    if (rank == finite - 1)
        return sketch->max;
    const em_sketch_side *side = &sketch->negative;
    if (rank < side->count) {
        for (int32_t i = side->high;; i--) {
            uint64_t here = *bin_at(sketch, true, side->high, i);
            if (rank < here)
                return clamp(sketch, -middle_of(sketch, i));
            rank -= here;
        }
    }
    rank -= side->count;
    if (rank < sketch->zeros)
        return 0.0;
    rank -= sketch->zeros;
    side = &sketch->positive;
    for (int32_t i = side->low;; i++) {
        uint64_t here = *bin_at(sketch, false, side->high, i);
        if (rank < here)
            return clamp(sketch, middle_of(sketch, i));
        rank -= here;
    }
}

size_t em_sketch_memory(const em_sketch *sketch)
{
    return sizeof *sketch + sketch->max_bins * sizeof *sketch->bins;
}

/* --- bytes ----------------------------------------------------------------------------------- */

enum { POSITIVE_COLLAPSED = 1, NEGATIVE_COLLAPSED = 2, HAS_FINITE = 4, ALL_FLAGS = 7 };

typedef struct {
    uint8_t *out;
    size_t room, size; /* size may exceed room: then it only counts */
} writer;

static void put_byte(writer *w, uint8_t byte)
{
    if (w->size < w->room)
        w->out[w->size] = byte;
    w->size++;
}

static void put_unsigned(writer *w, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        put_byte(w, (uint8_t)(value | 0x80));
    put_byte(w, (uint8_t)value);
}

static void put_double(writer *w, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    for (int i = 0; i < 8; i++)
        put_byte(w, (uint8_t)(bits >> 8 * i));
}

static int32_t run_end(const em_sketch *sketch, bool negative, int32_t index)
{
    const em_sketch_side *side = negative ? &sketch->negative : &sketch->positive;
    while (index <= side->high && *bin_at(sketch, negative, side->high, index) != 0)
        index++;
    return index;
}

static int32_t gap_end(const em_sketch *sketch, bool negative, int32_t index)
{
    const em_sketch_side *side = negative ? &sketch->negative : &sketch->positive;
    while (index <= side->high && *bin_at(sketch, negative, side->high, index) == 0)
        index++;
    return index;
}

static void put_side(writer *w, const em_sketch *sketch, bool negative)
{
    const em_sketch_side *side = negative ? &sketch->negative : &sketch->positive;
    if (side->count == 0) {
        put_unsigned(w, 0);
        return;
    }
    uint64_t runs = 0;
    for (int32_t i = side->low; i <= side->high; runs++)
        i = gap_end(sketch, negative, run_end(sketch, negative, i));
    put_unsigned(w, runs);
    uint32_t low = (uint32_t)side->low;
    put_unsigned(w, side->low < 0 ? ~(low << 1) : low << 1);
    int32_t before = side->low;
    for (int32_t i = side->low; i <= side->high;) {
        int32_t end = run_end(sketch, negative, i);
        if (i != side->low)
            put_unsigned(w, (uint64_t)(i - before));
        put_unsigned(w, (uint64_t)(end - i));
        for (; i < end; i++)
            put_unsigned(w, *bin_at(sketch, negative, side->high, i));
        before = end;
        i = gap_end(sketch, negative, end);
    }
}

size_t em_sketch_encode(const em_sketch *sketch, uint8_t *out, size_t room)
{
    writer w = {.out = out, .room = room, .size = 0};
    bool finite = finite_count(sketch) != 0;
    put_byte(&w, EM_SKETCH_VERSION);
    put_byte(&w, (uint8_t)((sketch->positive.collapsed ? POSITIVE_COLLAPSED : 0) |
                           (sketch->negative.collapsed ? NEGATIVE_COLLAPSED : 0) |
                           (finite ? HAS_FINITE : 0)));
    put_double(&w, sketch->relative_error);
    put_unsigned(&w, sketch->max_bins);
    put_unsigned(&w, sketch->zeros);
    put_unsigned(&w, sketch->ninf);
    put_unsigned(&w, sketch->pinf);
    if (finite) {
        put_double(&w, sketch->min);
        put_double(&w, sketch->max);
    }
    put_side(&w, sketch, true);
    put_side(&w, sketch, false);
    return w.size;
}

typedef struct {
    const uint8_t *next, *end;
    bool bad; /* sticks */
} reader;

static uint8_t get_byte(reader *r)
{
    if (r->next == r->end) {
        r->bad = true;
        return 0;
    }
    return *r->next++;
}

static uint64_t get_unsigned(reader *r)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 63; shift += 7) {
        uint8_t byte = get_byte(r);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            r->bad |= byte == 0 && shift != 0; /* not the shortest form */
            return value;
        }
    }
    r->bad = true; /* 2^63 or more */
    return 0;
}

static double get_double(reader *r)
{
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++)
        bits |= (uint64_t)get_byte(r) << 8 * i;
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static int32_t index_limit(const em_sketch *sketch)
{
    return (int32_t)(750.0 / sketch->log_gamma); /* beyond log of the largest and smallest double */
}

/* Reads a side twice: first for its highest bin, then to count, with `high` known. */
static void get_side(reader *r, em_sketch *sketch, bool negative)
{
    em_sketch_side *side = negative ? &sketch->negative : &sketch->positive;
    int32_t limit = index_limit(sketch);
    uint64_t runs = get_unsigned(r);
    if (runs == 0 || r->bad)
        return;
    uint64_t zigzag = get_unsigned(r);
    if (r->bad || zigzag > UINT32_MAX || runs > sketch->max_bins) {
        r->bad = true;
        return;
    }
    int64_t low = (int64_t)(zigzag >> 1) ^ -(int64_t)(zigzag & 1);
    if (low < -limit || low > limit) {
        r->bad = true;
        return;
    }
    reader start = *r;
    for (int pass = 0; pass < 2; pass++) {
        int64_t index = low;
        *r = start;
        for (uint64_t run = 0; run < runs; run++) {
            uint64_t gap = run == 0 ? 0 : get_unsigned(r);
            uint64_t length = get_unsigned(r);
            if (r->bad || (run != 0 && gap == 0) || length == 0 || gap > sketch->max_bins ||
                length > sketch->max_bins ||
                index + (int64_t)gap + (int64_t)length - low > (int64_t)sketch->max_bins) {
                r->bad = true;
                return;
            }
            index += (int64_t)gap;
            for (int64_t end = index + (int64_t)length; index < end; index++) {
                uint64_t count = get_unsigned(r);
                if (r->bad || count == 0 || count >= COUNT_LIMIT - em_sketch_count(sketch)) {
                    r->bad = true;
                    return;
                }
                if (pass == 1) {
                    *bin_at(sketch, negative, side->high, (int32_t)index) = count;
                    side->count += count;
                }
            }
        }
        side->low = (int32_t)low;
        side->high = (int32_t)index - 1;
    }
}

static bool near(int32_t a, int32_t b)
{
    return a - b <= 1 && b - a <= 1; /* two platforms may round a logarithm differently */
}

/* Could these counts and this minimum and maximum come from pushes? */
static bool consistent(const em_sketch *sketch)
{
    const em_sketch_side *positive = &sketch->positive, *negative = &sketch->negative;
    int32_t room_p = room_beside(sketch, span_of(negative));
    int32_t room_n = room_beside(sketch, span_of(positive));
    if (span_of(positive) > room_p || span_of(negative) > room_n)
        return false;
    if ((positive->collapsed && positive->count == 0) ||
        (negative->collapsed && negative->count == 0))
        return false;
    if (finite_count(sketch) == 0)
        return true;
    if (!isfinite(sketch->min) || !isfinite(sketch->max) || sketch->min > sketch->max)
        return false;
    if (positive->count != 0) {
        if (sketch->max <= 0.0 || !near(index_of(sketch, sketch->max), positive->high))
            return false;
    } else if (sketch->zeros != 0 ? sketch->max != 0.0 : sketch->max >= 0.0) {
        return false;
    }
    if (negative->count != 0) {
        if (sketch->min >= 0.0 || !near(index_of(sketch, -sketch->min), negative->high))
            return false;
    } else if (sketch->zeros != 0 ? sketch->min != 0.0 : sketch->min <= 0.0) {
        return false;
    }
    return true;
}

bool em_sketch_peek(const uint8_t *bytes, size_t size, double *relative_error, uint32_t *max_bins)
{
    reader r = {.next = bytes, .end = bytes + size, .bad = false};
    if (get_byte(&r) != EM_SKETCH_VERSION || get_byte(&r) > ALL_FLAGS)
        return false;
    double error = get_double(&r);
    uint64_t bins = get_unsigned(&r);
    if (r.bad || !(error >= EM_SKETCH_ERROR_MIN && error <= EM_SKETCH_ERROR_MAX) ||
        bins < EM_SKETCH_BINS_MIN || bins > EM_SKETCH_BINS_MAX)
        return false;
    *relative_error = error;
    *max_bins = (uint32_t)bins;
    return true;
}

bool em_sketch_decode(em_sketch *sketch, const uint8_t *bytes, size_t size)
{
    assert(em_sketch_count(sketch) == 0);
    reader r = {.next = bytes, .end = bytes + size, .bad = false};
    get_byte(&r);
    uint8_t flags = get_byte(&r);
    get_double(&r);
    get_unsigned(&r);
    uint64_t *specials[] = {&sketch->zeros, &sketch->ninf, &sketch->pinf};
    for (int i = 0; i < 3; i++) {
        uint64_t count = get_unsigned(&r);
        r.bad |= count >= COUNT_LIMIT - em_sketch_count(sketch);
        *specials[i] = r.bad ? 0 : count;
    }
    if (flags & HAS_FINITE) {
        sketch->min = get_double(&r);
        sketch->max = get_double(&r);
    }
    if (!r.bad)
        get_side(&r, sketch, true);
    if (!r.bad)
        get_side(&r, sketch, false);
    sketch->positive.collapsed = (flags & POSITIVE_COLLAPSED) != 0;
    sketch->negative.collapsed = (flags & NEGATIVE_COLLAPSED) != 0;
    bool has_finite = finite_count(sketch) != 0;
    if (r.bad || r.next != r.end || has_finite != ((flags & HAS_FINITE) != 0) ||
        !consistent(sketch)) {
        em_sketch_reset(sketch);
        return false;
    }
    return true;
}
