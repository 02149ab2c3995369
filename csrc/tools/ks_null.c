/* ks_null: the null law of the largest sliding two-sample KS statistic, by simulation.
 *
 * What is simulated. One reference of m = ratio * n values, then a stream from the same continuous law. From the
 * moment the window of n values is full, the exact integer statistic h = D * m is looked at after every prediction,
 * and also only after every k-th. For each horizon L, in windows, the largest h among the first L * n slides is
 * recorded, once for each of the two. The law of h does not depend on the law of the data while that is continuous,
 * so uniform values do; ties only make h smaller. lambda = D * sqrt(m n / (m + n)) is the scale of the table.
 *
 * How. [0, 1) is cut into equal blocks. What is kept at every slide is F_b, the number of window values in the blocks
 * up to b: one vector of counts, to which a slide adds a row of a table. With G_b reference values below block b, no
 * point of block b has ratio * F - G above ratio * F_b - G_b, or G - ratio * F above G_(b+1) - ratio * F_(b-1). So while
 *
 *     low_b <= F_b <= high_b        for all b, with bounds that follow from G and the largest h so far,
 *
 * no look can break the record. Only where a bound is passed, a look costs more: the values within the blocks in
 * question are made (from a hash of their place, so that they need not be kept) and give h there exactly. The records
 * are those of testing every slide in full; `ks_null check` does both and compares.
 *
 * Every replicate has its own generators, seeded from (seed, run, replicate): the output does not depend on the number
 * of threads. Time: 0.6 to 0.8 ns a slide at n <= 100, whatever the ratio.
 *
 *   ks_null table [--seed S] [--threads T] [--effort E]       what edgemon/drift/ks_null.py holds
 *   ks_null cell RATIO N EVERY HORIZON REPLICATES [--seed S] [--threads T] [--floor C]
 *                                                             one cell: quantiles above C, and the tail
 *   ks_null check [--seed S]                                  against the definition; exit status 1 if it differs
 *
 * Build: cc -O3 -march=native -std=c11 -pthread csrc/tools/ks_null.c -lm -o build/ks_null
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MAX_HORIZONS = 16,
    SMALL_N = 100,  /* int8 counts and SMALL blocks up to here, int16 and LARGE blocks beyond */
    SMALL = 32,
    LARGE = 128,
    MAX_N = 10000,
    DRAWN = 32,     /* block numbers drawn at once */
    MAX_CHUNK = 16, /* slides between two tests of the bounds */
};

static void *need(void *p)
{
    if (p == NULL) { fputs("ks_null: out of memory\n", stderr); exit(1); }
    return p;
}

/* ------------------------------------------------------------------ random numbers */

/* Eight xoshiro256++ generators (Blackman and Vigna, 2019) side by side, seeded through splitmix64. */
typedef uint64_t words_t __attribute__((vector_size(64)));
typedef uint16_t ids_t __attribute__((vector_size(64)));
typedef struct { words_t s[4]; } rng_t;

static inline uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static inline uint64_t splitmix64(uint64_t *state) { return mix(*state += UINT64_C(0x9E3779B97F4A7C15)); }

static void rng_seed(rng_t *rng, uint64_t state)
{
    for (int i = 0; i < 4; i++)
        for (int lane = 0; lane < 8; lane++) rng->s[i][lane] = splitmix64(&state);
}

/* DRAWN block numbers, uniform among 2^(16 - shift). */
static inline void rng_blocks(rng_t *rng, int shift, uint16_t *out)
{
    words_t *s = rng->s, sum = s[0] + s[3], result = ((sum << 23) | (sum >> 41)) + s[0], t = s[1] << 17;
    s[2] ^= s[0]; s[3] ^= s[1]; s[1] ^= s[2]; s[0] ^= s[3]; s[2] ^= t; s[3] = (s[3] << 45) | (s[3] >> 19);
    ids_t drawn = (ids_t)result >> shift;
    memcpy(out, &drawn, sizeof drawn);
}

/* Where within its block value number `index` lies. */
static inline uint32_t place(uint64_t key, uint64_t index)
{
    return (uint32_t)(mix(key + index * UINT64_C(0x9E3779B97F4A7C15)) >> 32);
}

/* ------------------------------------------------------------------ slides */

typedef int8_t small_t __attribute__((vector_size(SMALL)));
typedef int16_t large_t __attribute__((vector_size(2 * LARGE)));

static small_t small_moves[SMALL * SMALL]; /* [fresh * SMALL + old]: what the slide adds to F */
static large_t large_rows[LARGE];          /* [block]: what a value of that block adds to F */

static void make_tables(void)
{
    for (int fresh = 0; fresh < SMALL; fresh++)
        for (int old = 0; old < SMALL; old++)
            for (int b = 0; b < SMALL; b++)
                small_moves[fresh * SMALL + old][b] = (int8_t)((b >= fresh) - (b >= old));
    for (int fresh = 0; fresh < LARGE; fresh++)
        for (int b = 0; b < LARGE; b++) large_rows[fresh][b] = b >= fresh;
}

/* Bounds on F under which the record stands, and F itself: SMALL int8 or LARGE int16. */
typedef union { small_t small; large_t large; int8_t narrow[SMALL]; int16_t wide[LARGE]; } lanes_t;
typedef struct { lanes_t low, high; } bounds_t;

static inline bool any_negative_small(const small_t *x)
{
#ifdef __AVX2__
    typedef char chars_t __attribute__((vector_size(SMALL)));
    return __builtin_ia32_pmovmskb256((chars_t)*x) != 0;
#else
    typedef uint64_t quads_t __attribute__((vector_size(SMALL)));
    quads_t q = (quads_t)*x;
    return ((q[0] | q[1] | q[2] | q[3]) & UINT64_C(0x8080808080808080)) != 0;
#endif
}

static inline bool any_negative_large(const large_t *x)
{
    int16_t all = 0;
    for (int b = 0; b < LARGE; b++) all |= (*x)[b];
    return all < 0;
}

/* `count` slides; true when a bound was passed on the way. Signs are enough: nothing here leaves its type's range. */
static inline bool slide_small(lanes_t *f, const bounds_t *bounds, const uint16_t *moves, int count)
{
    small_t now = f->small, low = bounds->low.small, high = bounds->high.small, passed = {0};
    for (int i = 0; i < count; i++) {
        now += small_moves[moves[i]];
        passed |= (now - low) | (high - now);
    }
    f->small = now;
    return any_negative_small(&passed);
}

static inline bool slide_large(lanes_t *f, const bounds_t *bounds, const uint16_t *fresh, const uint16_t *old, int count)
{
    large_t passed = {0};
    for (int i = 0; i < count; i++) {
        f->large += large_rows[fresh[i]] - large_rows[old[i]];
        passed |= (f->large - bounds->low.large) | (bounds->high.large - f->large);
    }
    return any_negative_large(&passed);
}

/* ------------------------------------------------------------------ one replicate */

/* What one run of replicates shares. */
typedef struct {
    int ratio, n, every, horizons;
    int64_t horizon[MAX_HORIZONS]; /* windows, increasing */
    int64_t replicates;
    int32_t floor; /* records up to here may be given as this: quick, for the far tail alone */
    uint64_t seed, id;
    _Atomic int64_t next;
    int64_t *histogram[2][MAX_HORIZONS]; /* [every prediction, every k-th]: replicates by record, 0..m */
    pthread_mutex_t lock;                /* guards the histograms */
} run_t;

/* Memory of one worker, allocated once. */
typedef struct {
    int ratio, n, m, blocks, shift, chunk, batch;
    bool small;
    rng_t rng;
    uint64_t reference_key, window_key;
    int32_t below[LARGE + 1]; /* G: reference values in the blocks before */
    bool made[LARGE];
    uint32_t *reference;      /* m places, by block, in no order within one; valid where `made` */
    uint16_t *ids;            /* blocks of the last n values before this batch, then of the batch */
    uint16_t *moves;          /* slides of the batch, as small_moves has them */
    int64_t looked[LARGE];    /* number of the window's oldest value when a block was last looked into */
    int32_t lead[LARGE], lag[LARGE]; /* what was found: largest ratio * F - G and G - ratio * F from its lower border on */
    uint32_t *inside;         /* room for the window's places in one block */
    int64_t start;            /* number of the value ids[0] */
    lanes_t f;
    bounds_t bounds[2];       /* for the record of every prediction, of every k-th */
    int32_t record[2];
} worker_t;

static int f_at(const worker_t *w, int b) { return b < 0 ? 0 : w->small ? w->f.narrow[b] : w->f.wide[b]; }

static int32_t floor_divide(int32_t a, int32_t b) { return a >= 0 ? a / b : -((b - 1 - a) / b); }

/* Lane b bounds the window's lead in block b from above and its lag in block b + 1; the last lane, where F is always n,
 * stands for the lead in the last block and the lag in the first. */
static void set_bounds(const worker_t *w, bounds_t *bounds, int32_t record)
{
    const int n = w->n;
    for (int b = 0; b < w->blocks; b++) {
        int32_t high = floor_divide(record + w->below[b], w->ratio), low;
        if (b + 1 < w->blocks) low = floor_divide(w->below[b + 2] - record - 1, w->ratio) + 1;
        else low = w->below[1] > record ? n + 1 : 0;
        high = high > n ? n : high;
        low = low < 0 ? 0 : low;
        if (w->small) bounds->high.narrow[b] = (int8_t)high, bounds->low.narrow[b] = (int8_t)low;
        else bounds->high.wide[b] = (int16_t)high, bounds->low.wide[b] = (int16_t)low;
    }
}

/* Places of the window's values in block b, sorted; how many. ids[0] is the oldest of the window. Block numbers are
 * compared four at a time: 0x8000 less their difference keeps its top bit where there is none. */
static int gather(const worker_t *w, int b, const uint16_t *ids, uint32_t *inside)
{
    const uint64_t ones = UINT64_C(0x0001000100010001), tops = ones << 15;
    const int count = f_at(w, b) - f_at(w, b - 1);
    const uint64_t oldest = (uint64_t)(w->start + (ids - w->ids));
    for (int i = 0, found = 0; found < count; i += 4) {
        uint64_t four;
        memcpy(&four, ids + i, sizeof four);
        for (uint64_t same = (tops - (four ^ (ones * (uint64_t)b))) & tops; same != 0 && found < count; same &= same - 1) {
            uint32_t x = place(w->window_key, oldest + (uint64_t)i + (uint64_t)(__builtin_ctzll(same) / 16));
            int at = found++;
            for (; at > 0 && inside[at - 1] > x; at--) inside[at] = inside[at - 1];
            inside[at] = x;
        }
    }
    return count;
}

/* No value entered or left block b since it was looked into, as far as a short way back shows. */
static bool unchanged(const worker_t *w, int b, const uint16_t *ids)
{
    int64_t past = w->start + (ids - w->ids) - w->looked[b];
    if (past > MAX_CHUNK || past > ids - w->ids) return false;
    bool same = true;
    for (int64_t i = 1; i <= past; i++) same &= (ids[-i] != b) & (ids[w->n - i] != b);
    return same;
}

/* The largest |ratio * F - G| in block b, its upper border included. A tie, which has a probability of 2^-37, counts as
 * a window value below the reference's. */
static int32_t look_inside(worker_t *w, int b, const uint16_t *ids)
{
    const int ratio = w->ratio;
    const int32_t from = w->below[b], to = w->below[b + 1], ahead = ratio * f_at(w, b - 1) - from;
    if (!unchanged(w, b, ids)) {
        if (!w->made[b]) {
            for (int32_t i = from; i < to; i++) w->reference[i] = place(w->reference_key, (uint64_t)i);
            w->made[b] = true;
        }
        const int count = gather(w, b, ids, w->inside);
        int32_t lead = ratio * count - (to - from), lag = -lead;
        for (int i = 0; i < count; i++) {
            int32_t less = 0;
            for (int32_t k = from; k < to; k++) less += w->reference[k] < w->inside[i];
            lag = less - ratio * i > lag ? less - ratio * i : lag;
            lead = ratio * (i + 1) - less > lead ? ratio * (i + 1) - less : lead;
        }
        w->lead[b] = lead;
        w->lag[b] = lag;
    }
    w->looked[b] = w->start + (ids - w->ids);
    return w->lead[b] + ahead > w->lag[b] - ahead ? w->lead[b] + ahead : w->lag[b] - ahead;
}

/* Looks into every block whose bound is passed, and keeps the record. */
static void look(worker_t *w, int which, const uint16_t *ids)
{
    const bounds_t *bounds = &w->bounds[which];
    lanes_t lead, lag; /* negative where passed */
    if (w->small) {
        lead.small = bounds->high.small - w->f.small;
        lag.small = w->f.small - bounds->low.small;
    } else {
        lead.large = bounds->high.large - w->f.large;
        lag.large = w->f.large - bounds->low.large;
    }
    int32_t h = w->record[which];
    for (int b = 0; b < w->blocks; b++) {
        int before = b > 0 ? b - 1 : w->blocks - 1;
        bool wanted = w->small ? (lead.narrow[b] | lag.narrow[before]) < 0 : (lead.wide[b] | lag.wide[before]) < 0;
        if (wanted) {
            int32_t inside = look_inside(w, b, ids);
            h = inside > h ? inside : h;
        }
    }
    if (h > w->record[which]) set_bounds(w, &w->bounds[which], w->record[which] = h);
}

static void draw_blocks(worker_t *w, uint16_t *out, int count)
{
    for (int i = 0; i < count; i += DRAWN) rng_blocks(&w->rng, w->shift, out + i);
}

static void draw_reference(worker_t *w)
{
    int32_t count[2][LARGE] = {{0}};
    for (int left = w->m; left > 0; left -= w->batch) {
        int size = left < w->batch ? left : w->batch;
        draw_blocks(w, w->ids, w->batch);
        for (int i = 0; i < size; i++) count[i & 1][w->ids[i]]++;
    }
    w->below[0] = 0;
    for (int b = 0; b < w->blocks; b++) w->below[b + 1] = w->below[b] + count[0][b] + count[1][b];
    memset(w->made, 0, sizeof w->made);
    for (int b = 0; b < w->blocks; b++) w->looked[b] = INT64_MIN / 2;
}

/* The next batch behind the n values before it. */
static void draw_batch(worker_t *w)
{
    memmove(w->ids, w->ids + w->batch, (size_t)w->n * sizeof *w->ids);
    w->start += w->batch;
    draw_blocks(w, w->ids + w->n, w->batch);
    if (w->small)
        for (int i = 0; i < w->batch; i++) w->moves[i] = (uint16_t)(w->ids[w->n + i] * SMALL + w->ids[i]);
}

static inline bool slide(worker_t *w, int at, int count)
{
    if (w->small && count == 10) return slide_small(&w->f, &w->bounds[0], w->moves + at, 10); /* the usual, unrolled */
    return w->small ? slide_small(&w->f, &w->bounds[0], w->moves + at, count)
                    : slide_large(&w->f, &w->bounds[0], w->ids + w->n + at, w->ids + at, count);
}

/* F as it stands, against the bounds of the k-th predictions. */
static bool passed_kth(const worker_t *w)
{
    const bounds_t *bounds = &w->bounds[1];
    if (w->small) {
        small_t passed = (w->f.small - bounds->low.small) | (bounds->high.small - w->f.small);
        return any_negative_small(&passed);
    }
    large_t passed = (w->f.large - bounds->low.large) | (bounds->high.large - w->f.large);
    return any_negative_large(&passed);
}

/* A reference, a full window and their h, which is the first record of both kinds. */
static void begin(worker_t *w, const run_t *run, int64_t index)
{
    uint64_t state = run->seed;
    state = splitmix64(&state) ^ (run->id * UINT64_C(0xD1342543DE82EF95));
    state = splitmix64(&state) ^ ((uint64_t)index * UINT64_C(0xA0761D6478BD642F));
    w->reference_key = splitmix64(&state);
    w->window_key = splitmix64(&state);
    rng_seed(&w->rng, splitmix64(&state));
    draw_reference(w);
    w->start = 0;
    draw_blocks(w, w->ids + w->batch, (w->n + DRAWN - 1) / DRAWN * DRAWN);
    draw_batch(w);
    int count[LARGE] = {0};
    for (int i = 0; i < w->n; i++) count[w->ids[i]]++;
    int32_t h = run->floor;
    for (int b = 0, f = 0; b < w->blocks; b++) {
        f += count[b];
        if (w->small) w->f.narrow[b] = (int8_t)f;
        else w->f.wide[b] = (int16_t)f;
        h = abs(w->ratio * f - w->below[b + 1]) > h ? abs(w->ratio * f - w->below[b + 1]) : h;
    }
    w->record[0] = h;
    set_bounds(w, &w->bounds[0], h);
    look(w, 0, w->ids);
    w->record[1] = w->record[0];
    set_bounds(w, &w->bounds[1], w->record[1]);
}

static void replicate(worker_t *w, const run_t *run, int64_t index, int32_t (*records)[MAX_HORIZONS])
{
    begin(w, run, index);
    const int64_t end = run->horizon[run->horizons - 1] * run->n;
    int64_t next_kth = run->every, next_horizon = run->horizon[0] * run->n;
    int horizon = 0, at = 0; /* `at`: slides made of this batch; the window is ids[at .. at + n) */
    for (int64_t done = w->chunk; done <= end; done += w->chunk) {
        if (at == w->batch) {
            draw_batch(w);
            at = 0;
        }
        lanes_t before = w->f;
        if (slide(w, at, w->chunk)) {
            w->f = before;
            for (int i = 0; i < w->chunk; i++)
                if (slide(w, at + i, 1)) look(w, 0, w->ids + at + i + 1);
        }
        at += w->chunk;
        if (done == next_kth) {
            next_kth += run->every;
            if (passed_kth(w)) look(w, 1, w->ids + at);
        }
        if (done == next_horizon) {
            for (int which = 0; which < 2; which++) records[which][horizon] = w->record[which];
            if (++horizon < run->horizons) next_horizon = run->horizon[horizon] * run->n;
        }
    }
}

static int greatest_common_divisor(int a, int b) { return b == 0 ? a : greatest_common_divisor(b, a % b); }

static void worker_open(worker_t *w, const run_t *run)
{
    w->ratio = run->ratio;
    w->n = run->n;
    w->m = run->ratio * run->n;
    w->small = run->n <= SMALL_N;
    w->blocks = w->small ? SMALL : LARGE;
    w->shift = w->small ? 11 : 9;
    int common = greatest_common_divisor(run->every, run->n);
    for (w->chunk = MAX_CHUNK; common % w->chunk != 0; w->chunk--) {}
    w->batch = w->chunk * DRAWN * ((w->n + 640) / (w->chunk * DRAWN) + 1); /* at least n */
    w->reference = need(malloc((size_t)w->m * sizeof *w->reference));
    w->ids = need(malloc((size_t)(w->n + w->batch + DRAWN) * sizeof *w->ids));
    w->moves = need(malloc((size_t)w->batch * sizeof *w->moves));
    w->inside = need(malloc((size_t)w->n * sizeof *w->inside));
}

static void worker_close(worker_t *w) { free(w->reference); free(w->ids); free(w->moves); free(w->inside); }

static worker_t *worker_new(const run_t *run)
{
    worker_t *w = need(aligned_alloc(64, (sizeof *w + 63) / 64 * 64));
    memset(w, 0, sizeof *w);
    worker_open(w, run);
    return w;
}

static void *work(void *argument)
{
    run_t *run = argument;
    worker_t *w = worker_new(run);
    for (;;) {
        int64_t index = atomic_fetch_add(&run->next, 1);
        if (index >= run->replicates) break;
        int32_t records[2][MAX_HORIZONS];
        replicate(w, run, index, records);
        pthread_mutex_lock(&run->lock);
        for (int which = 0; which < 2; which++)
            for (int i = 0; i < run->horizons; i++) run->histogram[which][i][records[which][i]]++;
        pthread_mutex_unlock(&run->lock);
    }
    worker_close(w);
    free(w);
    return NULL;
}

static void run_all(run_t *run, int threads)
{
    pthread_t thread[64];
    atomic_init(&run->next, 0);
    pthread_mutex_init(&run->lock, NULL);
    for (int which = 0; which < 2; which++)
        for (int i = 0; i < run->horizons; i++)
            run->histogram[which][i] = need(calloc((size_t)run->ratio * (size_t)run->n + 1, sizeof(int64_t)));
    for (int i = 0; i < threads; i++)
        if (pthread_create(&thread[i], NULL, work, run) != 0) { fputs("ks_null: no thread\n", stderr); exit(1); }
    for (int i = 0; i < threads; i++) pthread_join(thread[i], NULL);
}

static void free_run(run_t *run)
{
    for (int which = 0; which < 2; which++)
        for (int i = 0; i < run->horizons; i++) free(run->histogram[which][i]);
    pthread_mutex_destroy(&run->lock);
}

/* ------------------------------------------------------------------ what the records say */

static const double GRID[] = {0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001, 0.0005, 0.0002, 0.0001};
enum { GRID_SIZE = sizeof GRID / sizeof *GRID };

/* The records of one horizon, with looks at every or at every k-th prediction. */
typedef struct {
    const int64_t *histogram; /* replicates by record, 0..m */
    int32_t m;
    double replicates, scale; /* lambda = h * scale */
} law_t;

static law_t law_of(const run_t *run, int which, int horizon)
{
    double m = (double)run->ratio * run->n;
    return (law_t){.histogram = run->histogram[which][horizon], .m = run->ratio * run->n,
                   .replicates = (double)run->replicates, .scale = sqrt(m * run->n / (m + run->n)) / m};
}

/* Smallest h whose share of records at or above it is at most p. */
static int32_t quantile_h(const law_t *law, double p)
{
    int32_t h = law->m;
    int64_t above = 0;
    while (h > 0 && (double)(above + law->histogram[h]) <= p * law->replicates) above += law->histogram[h--];
    return h + 1;
}

static int64_t count_from(const law_t *law, int32_t from)
{
    int64_t count = 0;
    for (int32_t h = from; h <= law->m; h++) count += law->histogram[h];
    return count;
}

/* The quantile on the scale of c, between two possible values of h by a line in (c^2, log P): the table is for all
 * n, and only this n has these steps. */
static double quantile_c(const law_t *law, double p)
{
    int32_t h = quantile_h(law, p);
    double s = law->scale;
    double above = (double)count_from(law, h) / law->replicates, below = (double)count_from(law, h - 1) / law->replicates;
    double high = h * s * h * s, low = (h - 1) * s * (h - 1) * s;
    if (above <= 0.0 || below <= above) return h * s;
    return sqrt(low + (high - low) * log(below / p) / log(below / above));
}

/* Standard error of quantile_c: that of P, over the slope of log P in c around it. */
static double quantile_se(const law_t *law, double p)
{
    double low = quantile_c(law, fmin(p * 1.25, 0.9)), high = quantile_c(law, p / 1.25);
    return sqrt((1.0 - p) / (p * law->replicates)) * (high - low) / log(fmin(p * 1.25, 0.9) / (p / 1.25));
}

typedef struct { double p, c, rate, rate_se; } tail_t;

/* Above the anchor c^2 is close to exponential: log P = log p - rate (c^2 - anchor^2). The rate is the inverse mean
 * excess of at least 1000 records; the true curve is concave, so the line errs to larger c. */
static tail_t fit_tail(const law_t *law)
{
    tail_t tail = {.p = GRID[3]};
    for (int i = 3; i < GRID_SIZE && GRID[i] * law->replicates >= 1000.0; i++) tail.p = GRID[i];
    int32_t anchor = quantile_h(law, tail.p);
    double s = law->scale, from = (anchor - 0.5) * s, sum = 0.0;
    for (int32_t h = anchor; h <= law->m; h++) sum += (double)law->histogram[h] * (h * s * h * s - from * from);
    double count = (double)count_from(law, anchor);
    tail.c = quantile_c(law, tail.p);
    tail.rate = count / sum;
    tail.rate_se = tail.rate / sqrt(count);
    return tail;
}

static double tail_c(const tail_t *tail, double p) { return sqrt(tail->c * tail->c + log(tail->p / p) / tail->rate); }

/* As in 1.2345(67): the standard error in units of the last digit. */
static void print_row(const run_t *run, int which, int horizon)
{
    law_t law = law_of(run, which, horizon);
    tail_t tail = fit_tail(&law);
    printf("%d %d %lld %lld |", run->ratio, which == 0 ? 1 : run->every, (long long)run->horizon[horizon],
           (long long)run->replicates);
    for (int i = 0; i < GRID_SIZE && GRID[i] * law.replicates >= 100.0; i++)
        printf(" %.4f(%.0f)", quantile_c(&law, GRID[i]), ceil(1e4 * quantile_se(&law, GRID[i])));
    printf(" | %g %.3f(%.0f)\n", tail.p, tail.rate, ceil(1e3 * tail.rate_se));
}

/* ------------------------------------------------------------------ the commands */

static run_t make_run(int ratio, int n, int every, int64_t replicates, uint64_t seed, uint64_t id)
{
    return (run_t){.ratio = ratio, .n = n, .every = every, .replicates = replicates, .seed = seed, .id = id};
}

static void set_horizons(run_t *run, int count, const int *horizons)
{
    run->horizons = count;
    for (int i = 0; i < count; i++) run->horizon[i] = horizons[i];
}

static void print_head(uint64_t seed, int n)
{
    printf("\"\"\"The largest sliding KS statistic of healthy streams, simulated. Generated; do not edit.\n\n"
           "Made by csrc/tools/ks_null.c (`make ks-null`), seed %llu, for m = ratio * n and n = %d. Each row of TABLE:\n\n"
           "    ratio every windows replicates | c(se) for each P of GRID | p rate(se)\n\n"
           "c is such that P(D sqrt(mn / (m + n)) >= c at any look within so many windows) = P, where one looks after\n"
           "every prediction (every = 1) or after every n/10 predictions (every = 10). In brackets stands the standard\n"
           "error, in units of the last digit. A row ends where fewer than 100 replicates went beyond c. Above the c of\n"
           "p: log P = log p - rate * (c**2 - c(p)**2).\n\"\"\"\n\n"
           "# ruff: noqa: E501\n\nN = %d\nGRID = (", (unsigned long long)seed, n, n);
    for (int i = 0; i < GRID_SIZE; i++) printf("%s%g", i == 0 ? "" : ", ", GRID[i]);
    printf(")\nTABLE = \"\"\"\\\n");
}

/* Far tail: the line of one cell against replicates of its own. */
static void check_tail(const run_t *fitted, int at, int64_t replicates, uint64_t id, int threads)
{
    law_t law = law_of(fitted, 0, at);
    tail_t tail = fit_tail(&law);
    const int windows = (int)fitted->horizon[at];
    run_t run = make_run(fitted->ratio, fitted->n, fitted->every, replicates, fitted->seed, id);
    set_horizons(&run, 1, &windows);
    run.floor = quantile_h(&law, tail.p) - 1;
    run_all(&run, threads);
    law = law_of(&run, 0, 0);
    printf("# Far tail at ratio %d, %d windows, against %lld runs of its own:\n", run.ratio, windows, (long long)replicates);
    for (double p = tail.p / 5.0; p * (double)replicates > 9.5; p /= 5.0) {
        int32_t h = (int32_t)ceil(tail_c(&tail, p) / law.scale);
        double c = h * law.scale, line = tail.p * exp(-tail.rate * (c * c - tail.c * tail.c));
        printf("#   P(c >= %.3f): the line says %.2e, %.2e were seen (standard error %.0e)\n", c, line,
               (double)count_from(&law, h) / law.replicates, sqrt(line / law.replicates));
    }
    fflush(stdout);
    free_run(&run);
}

/* Larger windows: c grows towards its limit like c(n) = c(infinity) - kappa / sqrt(n). */
static void check_window(const run_t *coarse, int at, int n, int64_t replicates, uint64_t seed, uint64_t id, int threads)
{
    static const double CHECKED[] = {0.1, 0.01, 0.001};
    const int horizon = (int)coarse->horizon[at];
    run_t run = make_run(coarse->ratio, n, n / 10, replicates, seed, id);
    set_horizons(&run, 1, &horizon);
    run_all(&run, threads);
    double step = 1.0 / sqrt(coarse->n) - 1.0 / sqrt(n);
    for (int which = 0; which < 2; which++) {
        law_t small = law_of(coarse, which, at), large = law_of(&run, which, 0);
        printf("#   ratio %d, %d windows, %s:", coarse->ratio, horizon, which == 0 ? "every prediction" : "every n/10");
        for (int k = 0; k < 3; k++)
            printf(" %.2f(%.0f)", (quantile_c(&large, CHECKED[k]) - quantile_c(&small, CHECKED[k])) / step,
                   ceil(100.0 * hypot(quantile_se(&large, CHECKED[k]), quantile_se(&small, CHECKED[k])) / step));
        printf("\n");
    }
    fflush(stdout);
    free_run(&run);
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)(now.tv_sec - start->tv_sec) + 1e-9 * (double)(now.tv_nsec - start->tv_nsec);
}

static void table(uint64_t seed, int threads, double effort)
{
    static const int RATIOS[] = {1, 2, 5, 10, 20, 50, 100};
    static const int HORIZONS[2][7] = {{1, 2, 5, 10, 20, 50, 100}, {200, 500, 1000, 2000, 5000, 10000}};
    static const int COUNTS[2] = {7, 6};
    static const double REPLICATES[2] = {400000.0, 50000.0};
    const int n = 100;
    run_t runs[7][2];
    struct timespec start;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    print_head(seed, n);
    for (int r = 0; r < 7; r++) {
        for (int part = 0; part < 2; part++) {
            uint64_t id = (uint64_t)(2 * r + part);
            runs[r][part] = make_run(RATIOS[r], n, n / 10, (int64_t)(REPLICATES[part] * effort), seed, id);
            set_horizons(&runs[r][part], COUNTS[part], HORIZONS[part]);
            run_all(&runs[r][part], threads);
        }
        for (int which = 0; which < 2; which++)
            for (int part = 0; part < 2; part++)
                for (int i = 0; i < COUNTS[part]; i++) print_row(&runs[r][part], which, i);
        fflush(stdout);
        fprintf(stderr, "ks_null: ratio %d done after %.0f s of processor time\n", RATIOS[r], seconds_since(&start));
    }
    printf("\"\"\"\n\n");
    static const struct { int ratio, part, horizon; double replicates; } TAILS[] = {
        {0, 0, 6, 2e6}, {0, 1, 2, 3e5}, {3, 0, 3, 1e7}, {3, 1, 2, 3e5}, {6, 0, 3, 5e5}};
    for (int i = 0; i < 5; i++)
        check_tail(&runs[TAILS[i].ratio][TAILS[i].part], TAILS[i].horizon, (int64_t)(TAILS[i].replicates * effort),
                   100 + (uint64_t)i, threads);
    printf("# Larger windows, (c(1000) - c(100)) / (1 / sqrt(100) - 1 / sqrt(1000)) at P = 0.1, 0.01, 0.001:\n");
    static const struct { int ratio, horizon; double replicates; } WINDOWS[] = {{0, 3, 20e3}, {3, 3, 40e3}, {3, 6, 5e3}, {6, 3, 20e3}};
    for (int i = 0; i < 4; i++)
        check_window(&runs[WINDOWS[i].ratio][0], WINDOWS[i].horizon, 1000, (int64_t)(WINDOWS[i].replicates * effort), seed,
                     110 + (uint64_t)i, threads);
    for (int r = 0; r < 7; r++)
        for (int part = 0; part < 2; part++) free_run(&runs[r][part]);
    fprintf(stderr, "ks_null: %.0f s of processor time\n", seconds_since(&start));
}

static void one_cell(run_t *run, int threads, double floor_c)
{
    struct timespec start;
    const double h_scale = sqrt((double)run->ratio * run->n / (run->ratio + 1.0)) / ((double)run->ratio * run->n);
    run->floor = (int32_t)(fmin(floor_c, 100.0) / h_scale);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    run_all(run, threads);
    double slides = (double)run->replicates * (double)run->horizon[0] * run->n;
    fprintf(stderr, "%.2f ns a slide\n", 1e9 * seconds_since(&start) / slides);
    for (int which = 0; which < (run->every == 1 ? 1 : 2); which++) {
        law_t law = law_of(run, which, 0);
        printf("m/n = %d, n = %d, every %d, %lld windows, %lld replicates\n", run->ratio, run->n,
               which == 0 ? 1 : run->every, (long long)run->horizon[0], (long long)run->replicates);
        for (int i = 0; i < GRID_SIZE && GRID[i] * law.replicates >= 10.0; i++)
            if (quantile_h(&law, fmin(1.25 * GRID[i], 0.9)) > run->floor + 1)
                printf("  P = %-7g c = %.4f +- %.4f\n", GRID[i], quantile_c(&law, GRID[i]), quantile_se(&law, GRID[i]));
        tail_t tail = fit_tail(&law);
        if (quantile_h(&law, tail.p) > run->floor + 1)
            printf("  tail: log P = log %g - (%.3f +- %.3f) (c^2 - %.3f^2)\n", tail.p, tail.rate, tail.rate_se, tail.c);
    }
    free_run(run);
}

/* ------------------------------------------------------------------ against the definition */

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static uint64_t whole_value(int block, uint32_t at) { return (uint64_t)block << 32 | at; }

/* max |ratio * #window <= x - #reference <= x|, by merging. */
static int32_t merge(const uint64_t *reference, int m, uint64_t *window, int n, int ratio)
{
    qsort(window, (size_t)n, sizeof *window, by_value);
    int32_t h = 0, i = 0, k = 0;
    while (i < m || k < n) {
        uint64_t x = k == n || (i < m && reference[i] < window[k]) ? reference[i] : window[k];
        while (i < m && reference[i] == x) i++;
        while (k < n && window[k] == x) k++;
        h = abs(ratio * k - i) > h ? abs(ratio * k - i) : h;
    }
    return h;
}

static bool same_records(const run_t *run, int64_t index)
{
    worker_t *w = worker_new(run);
    int32_t found[2][MAX_HORIZONS], record[2] = {0, 0};
    replicate(w, run, index, found);
    begin(w, run, index);
    uint64_t *reference = need(malloc((size_t)w->m * sizeof *reference));
    uint64_t *window = need(malloc((size_t)w->n * sizeof *window));
    for (int b = 0; b < w->blocks; b++)
        for (int32_t i = w->below[b]; i < w->below[b + 1]; i++)
            reference[i] = whole_value(b, place(w->reference_key, (uint64_t)i));
    qsort(reference, (size_t)w->m, sizeof *reference, by_value);
    bool same = true;
    int horizon = 0, at = 0;
    for (int64_t done = 0; horizon < run->horizons; done++, at++) {
        if (at == w->batch) {
            draw_batch(w);
            at = 0;
        }
        for (int i = 0; i < w->n; i++)
            window[i] = whole_value(w->ids[at + i], place(w->window_key, (uint64_t)(w->start + at + i)));
        int32_t h = merge(reference, w->m, window, w->n, w->ratio);
        record[0] = h > record[0] ? h : record[0];
        if (done % run->every == 0 && h > record[1]) record[1] = h;
        if (done == run->horizon[horizon] * run->n) {
            same &= found[0][horizon] == record[0] && found[1][horizon] == record[1];
            horizon++;
        }
    }
    free(reference); free(window);
    worker_close(w);
    free(w);
    return same;
}

static int check(uint64_t seed)
{
    static const int SHAPES[][3] = {{1, 10, 1}, {3, 20, 2}, {1, 100, 10}, {10, 50, 5}, {100, 10, 3}, {2, 200, 20}, {7, 120, 9}};
    static const int HORIZONS[] = {1, 4, 20};
    int different = 0;
    for (int shape = 0; shape < 7; shape++) {
        run_t run = make_run(SHAPES[shape][0], SHAPES[shape][1], SHAPES[shape][2], 30, seed, (uint64_t)shape);
        set_horizons(&run, 3, HORIZONS);
        for (int64_t i = 0; i < run.replicates; i++) different += !same_records(&run, i);
    }
    printf("%d of 210 replicates differ from the definition\n", different);
    return different != 0;
}

static int usage(void)
{
    fputs("usage: ks_null table [--seed S] [--threads T] [--effort E]\n"
          "       ks_null cell RATIO N EVERY HORIZON REPLICATES [--seed S] [--threads T] [--floor C]\n"
          "       ks_null check [--seed S]\n"
          "HORIZON is in windows; N at most 10000; E = 1 takes about ten minutes of one free core.\n", stderr);
    return 2;
}

int main(int argc, char **argv)
{
    uint64_t seed = 20240229;
    int threads = 1;
    double effort = 1.0, floor_c = 0.0;
    int positional = 0;
    const char *words[6] = {""};
    for (int i = 1; i < argc; i++) {
        int more = i + 1 < argc;
        if (strcmp(argv[i], "--seed") == 0 && more) seed = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--threads") == 0 && more) threads = atoi(argv[++i]);
        else if (strcmp(argv[i], "--effort") == 0 && more) effort = atof(argv[++i]);
        else if (strcmp(argv[i], "--floor") == 0 && more) floor_c = atof(argv[++i]);
        else if (positional < 6) words[positional++] = argv[i];
        else return usage();
    }
    if (threads < 1 || threads > 64 || !(effort > 0.0) || !(floor_c >= 0.0)) return usage();
    make_tables();
    if (positional == 1 && strcmp(words[0], "check") == 0) return check(seed);
    if (positional == 1 && strcmp(words[0], "table") == 0) {
        table(seed, threads, effort);
        return 0;
    }
    if (positional == 6 && strcmp(words[0], "cell") == 0) {
        run_t run = make_run(atoi(words[1]), atoi(words[2]), atoi(words[3]), atoll(words[5]), seed, 200);
        run.horizons = 1;
        run.horizon[0] = atoll(words[4]);
        if (run.ratio < 1 || run.n < 2 || run.n > MAX_N || run.every < 1 || run.horizon[0] < 1 || run.replicates < 1 ||
            (int64_t)run.ratio * run.n > 100000000) return usage();
        one_cell(&run, threads, floor_c);
        return 0;
    }
    return usage();
}
