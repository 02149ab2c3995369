#include "em_esr.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    LANES = 16,
    AHEAD = 4, /* values taken at once */
    VERSION = 1,
    HEADER = 20,
    ALIGNMENT = 64, /* of the floats: a cache line, and a vector of any processor */
};

#define FAR_BELOW_CEILING 1e30
#define ROUNDING 1.001 /* more than what a sum of floats can be off after AHEAD steps */

/* --- table ----------------------------------------------------------------------------------- */

/* Without a branch: the cells of a stream are as good as random. What is behind the last cut is
 * +inf, which no x is above. */
static inline uint32_t cell_of(const em_esr_table *table, double x)
{
    uint64_t cell = 0;
    /* Left whole, gcc makes vector comparisons of this loop; unrolled first, it does not. */
    _Pragma("GCC unroll 1") for (int i = 0; i <= EM_ESR_CUTS; i++)
    {
        cell += x > table->cuts[i];
    }
    return (uint32_t)cell;
}

static double factor(const em_esr_bet *bet, uint32_t cell)
{
    bool hit = bet->above ? cell > bet->cut : cell <= bet->cut;
    return hit ? bet->t / bet->p : (1.0 - bet->t) / (1.0 - bet->p);
}

/* FNV-1a over 32 bits at a time. */
static uint64_t fingerprint(uint64_t hash, uint32_t bits)
{
    return (hash ^ bits) * UINT64_C(0x100000001b3);
}

static uint32_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

int em_esr_table_init(em_esr_table *table, const double *cuts, uint32_t cut_count,
                      const em_esr_bet *bets, uint32_t count)
{
    assert(cut_count >= 1 && cut_count <= EM_ESR_CUTS && count >= 1 && count <= EM_ESR_BETS);
    table->cut_count = cut_count;
    table->bets = count;
    table->width = (count + LANES - 1) / LANES * LANES;
    size_t row_bytes = table->width * sizeof(float);
    table->factors = aligned_alloc(ALIGNMENT, row_bytes * (cut_count + 1));
    table->half_lines = malloc(count);
    if (table->factors == NULL || table->half_lines == NULL) {
        em_esr_table_free(table);
        return -1;
    }
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (uint32_t i = 0; i <= EM_ESR_CUTS; i++) {
        assert(i >= cut_count || (isfinite(cuts[i]) && (i == 0 || cuts[i - 1] < cuts[i])));
        table->cuts[i] = i < cut_count ? cuts[i] : INFINITY;
        uint64_t bits;
        memcpy(&bits, &table->cuts[i], sizeof bits);
        hash = fingerprint(fingerprint(hash, (uint32_t)bits), (uint32_t)(bits >> 32));
    }
    for (uint32_t k = 0; k < count; k++) {
        assert(bets[k].cut < cut_count);
        assert(bets[k].p >= EM_ESR_P_MIN && bets[k].p < bets[k].t && bets[k].t < 1.0);
        table->half_lines[k] = (uint8_t)(2 * bets[k].cut + bets[k].above);
    }
    for (uint32_t cell = 0; cell <= cut_count; cell++) {
        float *row = table->factors + cell * table->width;
        table->largest[cell] = 0.0f;
        for (uint32_t k = 0; k < table->width; k++) {
            row[k] = k < count ? (float)(factor(&bets[k], cell) * (1.0 - 0x1p-22)) : 0.0f;
            table->largest[cell] = fmaxf(table->largest[cell], row[k]);
            hash = fingerprint(hash, float_bits(row[k]));
        }
    }
    table->fingerprint = hash;
    return 0;
}

void em_esr_table_free(em_esr_table *table)
{
    free(table->factors);
    free(table->half_lines);
    table->factors = NULL;
    table->half_lines = NULL;
}

uint32_t em_esr_table_cell(const em_esr_table *table, double x)
{
    return cell_of(table, x);
}

size_t em_esr_table_memory(const em_esr_table *table)
{
    return sizeof *table + (table->cut_count + 1) * table->width * sizeof *table->factors +
           table->bets;
}

/* --- state ----------------------------------------------------------------------------------- */

int em_esr_init(em_esr *esr, const em_esr_table *table, double limit)
{
    esr->table = table;
    esr->r = aligned_alloc(ALIGNMENT, table->width * sizeof *esr->r);
    if (esr->r == NULL)
        return -1;
#if !defined(EM_PORTABLE) && defined(__x86_64__) && defined(__GNUC__)
    esr->wide_vectors = __builtin_cpu_supports("avx2") != 0;
#else
    esr->wide_vectors = false;
#endif
    memset(esr->history, 0, sizeof esr->history);
    em_esr_set_limit(esr, limit);
    em_esr_reset(esr);
    return 0;
}

void em_esr_free(em_esr *esr)
{
    free(esr->r);
    esr->r = NULL;
}

void em_esr_reset(em_esr *esr)
{
    memset(esr->r, 0, esr->table->width * sizeof *esr->r);
    esr->total = 0.0f;
    esr->pushes = 0;
}

void em_esr_set_limit(em_esr *esr, double limit)
{
    assert(limit > 0.0 && limit <= EM_ESR_LIMIT_MAX);
    esr->limit = limit;
    esr->limit_total = (float)(limit * esr->table->bets * (1.0 + 0x1p-20));
}

static uint32_t remembered(const em_esr *esr)
{
    return esr->pushes < EM_ESR_HISTORY ? (uint32_t)esr->pushes : EM_ESR_HISTORY;
}

/* Of the observation `back` before the last; back < remembered. */
static uint32_t cell_back(const em_esr *esr, uint32_t back)
{
    uint32_t slot = (uint32_t)((esr->pushes - 1 - back) % EM_ESR_HISTORY);
    return esr->history[slot / 2] >> (slot % 2 * 4) & 15;
}

static inline void remember(em_esr *esr, uint32_t cell)
{
    uint32_t slot = (uint32_t)(esr->pushes % EM_ESR_HISTORY), shift = slot % 2 * 4;
    uint8_t *pair = &esr->history[slot / 2];
    *pair = (uint8_t)((*pair & (240u >> shift)) | cell << shift);
    esr->pushes++;
}

static inline float fold(float sum[LANES])
{
    for (size_t lane = 0; lane < 8; lane++)
        sum[lane] += sum[lane + 8];
    for (size_t lane = 0; lane < 4; lane++)
        sum[lane] += sum[lane + 4];
    return (sum[0] + sum[2]) + (sum[1] + sum[3]);
}

/* R <- (R + 1) e for all bets at once, 16 independent sums beside each other. Always whole rows: a
 * loop without a rest, whose additions are in the same order with every instruction set. */
static inline float advance(float *restrict r, const float *restrict factors, size_t rows)
{
    float sum[LANES] = {0};
    for (size_t row = 0; row < rows; row++) {
        _Pragma("GCC unroll 1") for (size_t lane = 0; lane < LANES; lane++)
        {
            float value = (r[row * LANES + lane] + 1.0f) * factors[row * LANES + lane];
            value = value < EM_ESR_CEILING ? value : EM_ESR_CEILING;
            r[row * LANES + lane] = value;
            sum[lane] += value;
        }
    }
    return fold(sum);
}

static inline void take(em_esr *esr, double x)
{
    const em_esr_table *table = esr->table;
    uint32_t cell = cell_of(table, x);
    remember(esr, cell);
    esr->total = advance(esr->r, table->factors + cell * table->width, table->width / LANES);
}

/* As `advance` for AHEAD values, none of which brings any R to the ceiling: a row of R stays in registers for all. */
static inline float advance_ahead(float *restrict r, const float *const factors[AHEAD], size_t rows)
{
    const float *restrict f0 = factors[0], *restrict f1 = factors[1];
    const float *restrict f2 = factors[2], *restrict f3 = factors[3];
    float sum[LANES] = {0};
    for (size_t row = 0; row < rows; row++) {
        _Pragma("GCC unroll 1") for (size_t lane = 0; lane < LANES; lane++)
        {
            size_t k = row * LANES + lane;
            float value = (r[k] + 1.0f) * f0[k];
            value = (value + 1.0f) * f1[k];
            value = (value + 1.0f) * f2[k];
            value = (value + 1.0f) * f3[k];
            r[k] = value;
            sum[lane] += value;
        }
    }
    return fold(sum);
}

/* AHEAD values, unless some bet that wins most with each of them might bring the sum to the limit: false then, and
 * nothing has changed. The limit is below the ceiling. */
static inline bool take_ahead(em_esr *esr, const double *x)
{
    const em_esr_table *table = esr->table;
    const float *factors[AHEAD];
    uint32_t cells[AHEAD];
    double most = (double)esr->total, highest = 0.0;
    for (size_t i = 0; i < AHEAD; i++) {
        cells[i] = cell_of(table, x[i]);
        factors[i] = table->factors + cells[i] * table->width;
        most = (most + table->bets) * (double)table->largest[cells[i]];
        highest = most > highest ? most : highest;
    }
    if (highest * ROUNDING >= (double)esr->limit_total)
        return false;
    esr->total = advance_ahead(esr->r, factors, table->width / LANES);
    for (size_t i = 0; i < AHEAD; i++)
        remember(esr, cells[i]);
    return true;
}

static inline size_t take_until(em_esr *esr, const double *x, size_t count, bool *crossed)
{
    *crossed = false;
    size_t i = 0;
    while (i < count && !*crossed) {
        if (count - i >= AHEAD && take_ahead(esr, x + i)) {
            i += AHEAD;
            continue;
        }
        take(esr, x[i++]);
        *crossed = esr->total >= esr->limit_total;
    }
    return i;
}

#if !defined(EM_PORTABLE) && defined(__x86_64__) && defined(__GNUC__)
#define HAVE_AVX2 1
__attribute__((target("avx2"), flatten)) static size_t
take_until_avx2(em_esr *esr, const double *x, size_t count, bool *crossed)
{
    return take_until(esr, x, count, crossed);
}
#endif

size_t em_esr_push_until(em_esr *esr, const double *x, size_t count, bool *crossed)
{
#if defined(HAVE_AVX2)
    if (esr->wide_vectors)
        return take_until_avx2(esr, x, count, crossed);
#endif
    return take_until(esr, x, count, crossed);
}

bool em_esr_push(em_esr *esr, double x)
{
    bool crossed;
    em_esr_push_until(esr, &x, 1, &crossed);
    return crossed;
}

/* R <- (R + 1) e, as advance has it; whether any R is another. */
static bool moves(float *restrict r, const float *restrict factors, size_t width)
{
    uint32_t changed = 0;
    for (size_t k = 0; k < width; k++) {
        float value = (r[k] + 1.0f) * factors[k];
        value = value < EM_ESR_CEILING ? value : EM_ESR_CEILING;
        changed |= value != r[k];
        r[k] = value;
    }
    return changed != 0;
}

/* The same AHEAD times, far from the ceiling; whether any R was another by the last. */
static inline bool moves_ahead(float *restrict r, const float *restrict factors, size_t width)
{
    uint32_t changed = 0;
    for (size_t k = 0; k < width; k++) {
        float value = (r[k] + 1.0f) * factors[k];
        value = (value + 1.0f) * factors[k];
        float before = (value + 1.0f) * factors[k];
        value = (before + 1.0f) * factors[k];
        changed |= value != before;
        r[k] = value;
    }
    return changed != 0;
}

/* `count` pushes, or as many as it takes until R has settled, where no bet wins: R can grow by 1 with each then. */
static inline uint64_t settle(float *restrict r, const float *restrict factors, size_t width,
                              uint64_t count)
{
    uint64_t done = 0;
    while (count - done >= AHEAD) {
        done += AHEAD;
        if (!moves_ahead(r, factors, width))
            return count;
    }
    return done;
}

#if defined(HAVE_AVX2)
__attribute__((target("avx2"), flatten)) static uint64_t
settle_avx2(float *restrict r, const float *restrict factors, size_t width, uint64_t count)
{
    return settle(r, factors, width, count);
}
#endif

static void remember_alike(em_esr *esr, uint32_t cell, uint64_t count)
{
    if (count > 0 && esr->pushes % 2 != 0) {
        remember(esr, cell);
        count--;
    }
    while (count > 1) {
        size_t at = esr->pushes % EM_ESR_HISTORY / 2, room = sizeof esr->history - at;
        size_t pairs = count / 2 < room ? (size_t)(count / 2) : room;
        memset(&esr->history[at], (int)(cell * 17), pairs);
        esr->pushes += 2 * pairs;
        count -= 2 * pairs;
    }
    if (count > 0)
        remember(esr, cell);
}

/* R after `count` pushes into one cell. */
static void push_alike(em_esr *esr, uint32_t cell, uint64_t count)
{
    const em_esr_table *table = esr->table;
    const float *factors = table->factors + cell * table->width;
    uint64_t done = 0;
    if (table->largest[cell] <= 1.0f && (double)esr->total + (double)count < FAR_BELOW_CEILING) {
#if defined(HAVE_AVX2)
        if (esr->wide_vectors)
            done = settle_avx2(esr->r, factors, table->width, count);
        else
#endif
            done = settle(esr->r, factors, table->width, count);
    }
    while (done < count && moves(esr->r, factors, table->width))
        done++;
}

void em_esr_repeat(em_esr *esr, double x, uint64_t count)
{
    if (count == 0)
        return;
    const em_esr_table *table = esr->table;
    uint32_t cell = cell_of(table, x);
    push_alike(esr, cell, count - 1);
    esr->total =
        advance(esr->r, table->factors + cell * table->width, table->width / LANES);
    uint64_t kept = count < EM_ESR_HISTORY ? count : EM_ESR_HISTORY;
    esr->pushes += count - kept;
    remember_alike(esr, cell, kept);
}

double em_esr_mean(const em_esr *esr)
{
    return (double)esr->total / esr->table->bets;
}

em_esr_peak em_esr_strongest(const em_esr *esr)
{
    const em_esr_table *table = esr->table;
    uint32_t best = 0;
    for (uint32_t k = 1; k < table->bets; k++)
        if (esr->r[k] > esr->r[best])
            best = k;
    em_esr_peak peak = {
        .r = (double)esr->r[best],
        .cut = table->cuts[table->half_lines[best] / 2],
        .above = table->half_lines[best] % 2 != 0,
        .since = 0,
    };
    double log_factor[EM_ESR_CUTS + 1], sum = 0.0, highest = 0.0;
    for (uint32_t cell = 0; cell <= table->cut_count; cell++)
        log_factor[cell] = log((double)table->factors[cell * table->width + best]);
    for (uint32_t back = 0; back < remembered(esr); back++) {
        sum += log_factor[cell_back(esr, back)];
        if (sum > highest) {
            highest = sum;
            peak.since = back + 1;
        }
    }
    return peak;
}

size_t em_esr_memory(const em_esr *esr)
{
    return sizeof *esr + esr->table->width * sizeof *esr->r;
}

/* --- checkpoint ------------------------------------------------------------------------------ */

static void put(uint8_t *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *data, int bytes)
{
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint64_t)data[i] << 8 * i;
    return value;
}

static size_t size_with(const em_esr *esr, uint32_t cells)
{
    return HEADER + (size_t)4 * esr->table->bets + (cells + 1) / 2;
}

size_t em_esr_encoded_size(const em_esr *esr)
{
    return size_with(esr, remembered(esr));
}

void em_esr_encode(const em_esr *esr, uint8_t *out)
{
    uint32_t bets = esr->table->bets, cells = remembered(esr);
    put(out, VERSION, 2);
    put(out + 2, bets, 2);
    put(out + 4, esr->table->fingerprint, 8);
    put(out + 12, esr->pushes, 8);
    for (uint32_t k = 0; k < bets; k++)
        put(out + HEADER + 4 * k, float_bits(esr->r[k]), 4);
    uint8_t *pairs = out + HEADER + 4 * bets;
    memset(pairs, 0, (cells + 1) / 2);
    for (uint32_t i = 0; i < cells; i++)
        pairs[i / 2] |= (uint8_t)(cell_back(esr, cells - 1 - i) << i % 2 * 4);
}

static bool decode(em_esr *esr, const uint8_t *data, size_t size)
{
    uint32_t bets = esr->table->bets;
    if (size < HEADER || get(data, 2) != VERSION || get(data + 2, 2) != bets ||
        get(data + 4, 8) != esr->table->fingerprint)
        return false;
    uint64_t pushes = get(data + 12, 8);
    esr->pushes = pushes;
    uint32_t cells = remembered(esr);
    if (size != size_with(esr, cells))
        return false;
    float sum[LANES] = {0};
    for (uint32_t k = 0; k < bets; k++) {
        uint32_t bits = (uint32_t)get(data + HEADER + 4 * k, 4);
        float r;
        memcpy(&r, &bits, sizeof r);
        /* Also false for NaN. A factor is above 0, and so is R from the first push on. */
        if (!(r >= 0.0f && r <= EM_ESR_CEILING) || signbit(r) || (pushes == 0 && r != 0.0f))
            return false;
        esr->r[k] = r;
        sum[k % LANES] += r;
    }
    esr->total = fold(sum);
    const uint8_t *pairs = data + HEADER + 4 * bets;
    esr->pushes = pushes - cells;
    for (uint32_t i = 0; i < cells; i++) {
        uint32_t cell = pairs[i / 2] >> i % 2 * 4 & 15;
        if (cell > esr->table->cut_count)
            return false;
        remember(esr, cell);
    }
    return cells % 2 == 0 || pairs[cells / 2] >> 4 == 0;
}

bool em_esr_decode(em_esr *esr, const uint8_t *data, size_t size)
{
    em_esr_reset(esr);
    if (decode(esr, data, size))
        return true;
    em_esr_reset(esr);
    return false;
}
