/* Drives the kernels under the sanitizers, asserts on. Built once with the processor's instructions
 * and once with -DEM_PORTABLE; and without sanitizers for ARM, under emulation. Prints "done" when
 * all held. Seeded: every run is the same. */
#include "em_confidence.h"
#include "em_crc32c.h"
#include "em_esr.h"
#include "em_hist.h"
#include "em_join.h"
#include "em_ks.h"
#include "em_moments.h"
#include "em_pvalue.h"
#include "em_ring.h"
#include "em_sketch.h"
#include "em_table.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(truth)                                                                               \
    do {                                                                                           \
        if (!(truth)) {                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth);                            \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static uint64_t state = UINT64_C(0x9e3779b97f4a7c15);

static uint64_t random_bits(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static uint32_t below(uint32_t limit)
{
    return (uint32_t)(random_bits() >> 32) % limit;
}

static const double ends[] = {0.0,      -0.0,     1.0,       INFINITY, -INFINITY,
                              DBL_MAX,  -DBL_MAX, DBL_MIN,   5e-324,   -5e-324,
                              1e300,    -1e300,   1e-310,    0.5,      2.0};

/* Any double but NaN: few levels, ends of the range, arbitrary bits, or ordinary. */
static double draw(void)
{
    switch (below(4)) {
    case 0:
        return ends[below((uint32_t)(sizeof ends / sizeof *ends))];
    case 1:
        return (double)below(5);
    case 2: {
        uint64_t bits = random_bits();
        double x;
        memcpy(&x, &bits, sizeof x);
        return isnan(x) ? 0.0 : x;
    }
    default:
        return (double)below(1000000) / 1e6;
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static uint32_t bucket_by_counting(const double *values, uint32_t u, double x)
{
    uint32_t i = 0;
    while (i < u && values[i] < x)
        i++;
    return 2 * i + (i < u && values[i] == x);
}

static int by_bits(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* m equal weights stand for a large reference, so that all step widths come up. */
static void check_ks(uint32_t most_values, uint32_t weight, uint32_t n)
{
    static double values[8000];
    static uint32_t counts[8000];
    uint32_t u = 0;
    uint32_t drawn = 1 + below(most_values);
    for (uint32_t i = 0; i < drawn; i++)
        values[i] = draw() + 0.0;
    qsort(values, drawn, sizeof *values, by_value);
    for (uint32_t i = 0; i < drawn; i++)
        if (u == 0 || values[u - 1] < values[i])
            values[u++] = values[i];
    for (uint32_t i = 0; i < u; i++)
        counts[i] = 1 + below(weight);
    em_reference reference;
    CHECK(em_reference_init(&reference, values, counts, u) == 0);
    for (int i = 0; i < 200; i++) {
        double x = draw();
        CHECK(em_reference_bucket(&reference, x) == bucket_by_counting(values, u, x));
        CHECK(em_reference_rank(&reference, x) <= reference.m);
    }
    em_ks ks;
    CHECK(em_ks_init(&ks, &reference, n, 1) == 0);
    em_ks_set_threshold(&ks, 1 + (int64_t)((double)ks.lcm * (double)below(100) / 100.0));
    uint32_t *found = calloc(2 * (size_t)u + 1, sizeof *found);
    CHECK(found != NULL);
    for (uint32_t i = 0; i < 2 * n + 200; i++) {
        bool above = em_ks_push(&ks, below(3) ? values[below(u)] : draw());
        if (i % 7 == 0) { /* the slow scan beside the fast one */
            em_ks_peak peak = em_ks_locate(&ks);
            CHECK(above == (i + 1 >= n && peak.h >= ks.threshold));
            CHECK(em_ks_h(&ks) == peak.h && peak.h <= peak.lcm);
        }
        if (i % 50 == 0) {
            em_ks_counts(&ks, found);
            uint64_t total = 0;
            for (uint32_t k = 0; k <= 2 * u; k++)
                total += found[k];
            CHECK(total == (i + 1 < n ? i + 1 : n));
            uint32_t *order = calloc((size_t)total, sizeof *order);
            CHECK(order != NULL);
            em_ks_buckets(&ks, order);
            for (uint64_t k = 0; k < total; k++)
                CHECK(order[k] <= 2 * u && found[order[k]]-- > 0);
            free(order);
        }
    }
    em_ks_reset(&ks);
    CHECK(em_ks_h(&ks) == 0);
    free(found);
    em_ks_free(&ks);
    em_reference_free(&reference);
}

static void check_sketch(uint32_t max_bins)
{
    static uint8_t bytes[1 << 20];
    em_sketch one, two, whole;
    CHECK(em_sketch_init(&one, 0.02, max_bins) == 0 && em_sketch_init(&two, 0.02, max_bins) == 0 &&
          em_sketch_init(&whole, 0.02, max_bins) == 0);
    for (uint32_t i = below(300); i > 0; i--) {
        double x = draw();
        em_sketch_push(below(2) ? &one : &two, x);
        em_sketch_push(&whole, x);
        CHECK(!isnan(em_sketch_quantile(&whole, (double)below(1001) / 1000.0)));
    }
    CHECK(em_sketch_merge(&one, &two) == 0);
    size_t size = em_sketch_encode(&one, bytes, sizeof bytes);
    CHECK(size <= sizeof bytes && em_sketch_encode(&whole, NULL, 0) == size);
    em_sketch_reset(&two);
    CHECK(em_sketch_decode(&two, bytes, size));
    for (int i = 0; i < 60; i++) {
        uint8_t *damaged = malloc(size); /* exactly as long, so that reading past it is seen */
        CHECK(damaged != NULL);
        memcpy(damaged, bytes, size);
        for (uint32_t flips = below(3); flips > 0; flips--)
            damaged[below((uint32_t)size)] = (uint8_t)below(256);
        size_t kept = below(4) ? size : below((uint32_t)size + 1);
        double error;
        uint32_t bins;
        if (em_sketch_peek(damaged, kept, &error, &bins)) {
            em_sketch made;
            CHECK(em_sketch_init(&made, error, bins) == 0);
            if (em_sketch_decode(&made, damaged, kept))
                for (int more = 0; more < 20; more++)
                    em_sketch_push(&made, draw());
            em_sketch_quantile(&made, 0.5);
            em_sketch_free(&made);
        }
        free(damaged);
    }
    em_sketch_free(&one);
    em_sketch_free(&two);
    em_sketch_free(&whole);
}

/* Any mixture of bets, also those that cannot lose: the stream is not a null, R goes everywhere. */
static void check_esr(uint32_t most_bets)
{
    double cuts[EM_ESR_CUTS];
    em_esr_bet bets[EM_ESR_BETS];
    uint32_t cut_count = 0, count = 1 + below(most_bets), drawn = 1 + below(EM_ESR_CUTS);
    for (uint32_t i = 0; i < drawn; i++) {
        cuts[i] = draw();
        cuts[i] = isfinite(cuts[i]) ? cuts[i] + 0.0 : (double)i;
    }
    qsort(cuts, drawn, sizeof *cuts, by_value);
    for (uint32_t i = 0; i < drawn; i++)
        if (cut_count == 0 || cuts[cut_count - 1] < cuts[i])
            cuts[cut_count++] = cuts[i];
    for (uint32_t k = 0; k < count; k++) {
        double p = below(20) ? (double)(1 + below(990)) / 1000.0 : EM_ESR_P_MIN;
        bets[k] = (em_esr_bet){.p = p, .t = p + (1.0 - p) * 0.3, .cut = below(cut_count),
                               .above = below(2) != 0};
    }
    em_esr_table table;
    CHECK(em_esr_table_init(&table, cuts, cut_count, bets, count) == 0);
    em_esr esr, other;
    double limit = below(2) ? EM_ESR_LIMIT_MAX : 1000.0;
    CHECK(em_esr_init(&esr, &table, limit) == 0 && em_esr_init(&other, &table, limit) == 0);
    for (uint32_t pushes = below(5000); pushes > 0; pushes--) {
        double x = draw();
        uint32_t cell = em_esr_table_cell(&table, x);
        CHECK(cell <= cut_count && (cell == 0 || cuts[cell - 1] < x) &&
              (cell == cut_count || x <= cuts[cell]));
        bool crossed = em_esr_push(&esr, x);
        CHECK(isfinite(em_esr_mean(&esr)) && em_esr_mean(&esr) > 0.0);
        CHECK(!crossed || em_esr_mean(&esr) >= limit);
    }
    em_esr_peak peak = em_esr_strongest(&esr);
    CHECK(peak.r >= em_esr_mean(&esr) * 0.999 && peak.since <= EM_ESR_HISTORY);
    size_t size = em_esr_encoded_size(&esr);
    uint8_t *bytes = malloc(size); /* exactly as long, so that writing past it is seen */
    CHECK(bytes != NULL);
    em_esr_encode(&esr, bytes);
    CHECK(em_esr_decode(&other, bytes, size) && em_esr_mean(&other) == em_esr_mean(&esr));
    for (int i = 0; i < 60; i++) {
        size_t kept = below(3) ? size : below((uint32_t)size + 1);
        uint8_t *damaged = malloc(kept + 1);
        CHECK(damaged != NULL);
        memcpy(damaged, bytes, kept);
        for (uint32_t flips = below(3); flips > 0 && kept > 0; flips--)
            damaged[below((uint32_t)kept)] = (uint8_t)below(256);
        bool whole = em_esr_decode(&other, damaged, kept);
        CHECK(whole || em_esr_mean(&other) == 0.0);
        for (int more = 0; more < 20; more++)
            em_esr_push(&other, draw());
        CHECK(isfinite(em_esr_mean(&other)));
        em_esr_strongest(&other);
        free(damaged);
    }
    free(bytes);
    em_esr_free(&esr);
    em_esr_free(&other);
    em_esr_table_free(&table);
}

static void check_pvalue(void)
{
    int64_t m = 1 + below(400), n = below(4) ? 1 + below(400) : m, g = m, rest = n;
    while (rest != 0) {
        int64_t next = g % rest;
        g = rest;
        rest = next;
    }
    int64_t lcm = m / g * n, h = below((uint32_t)lcm + 2);
    double p = em_pvalue(h, m, n);
    CHECK(p >= 0.0 && p <= 1.0 && (p > 0.0 || h > lcm || m * n > 10000));
    CHECK(em_pvalue(h + 1, m, n) <= p && em_pvalue(0, m, n) == 1.0);
    CHECK(em_pvalue(h, n, m) == p);
    CHECK(em_pvalue(INT64_MAX, m, n) == 0.0);
    CHECK(em_kolmogorov((double)below(1000) / 100.0) <= 1.0);
}

static void check_largest_pvalues(void)
{
    CHECK(em_pvalue(3162 * INT64_C(3161) / 2, 3162, 3161) < 1e-100); /* the longest row */
    CHECK(em_pvalue(INT64_C(1) << 56, INT32_MAX, INT32_MAX - 1) <= 1.0);
}

static void check_small_ones(void)
{
    em_moments a, b;
    em_moments_reset(&a);
    em_moments_reset(&b);
    em_ring ring;
    em_hist hist;
    double edges[5];
    CHECK(em_ring_init(&ring, 1 + below(9)) == 0);
    for (int i = 0; i < 5; i++)
        edges[i] = draw();
    qsort(edges, 5, sizeof *edges, by_value);
    CHECK(em_hist_init(&hist, edges, 5) == 0);
    for (uint32_t i = 0; i < 50; i++) {
        double x = draw();
        if (isfinite(x))
            em_moments_push(below(2) ? &a : &b, x);
        em_ring_push(&ring, x);
        em_hist_push(&hist, x);
        CHECK(em_ring_at(&ring, ring.length - 1) == x);
        CHECK(ring.length <= ring.capacity && !isnan(em_ring_at(&ring, 0)));
    }
    em_moments_merge(&a, &b);
    CHECK(a.count == 0 || (a.min <= a.mean && a.mean <= a.max && a.m2 >= 0.0));
    em_ring_free(&ring);
    em_hist_free(&hist);
    for (uint32_t size = 0; size < 40; size++) {
        uint8_t *data = malloc(size + 1);
        CHECK(data != NULL);
        for (uint32_t i = 0; i < size; i++)
            data[i] = (uint8_t)random_bits();
        uint32_t crc = 0xffffffff;
        for (uint32_t i = 0; i < size; i++) {
            crc ^= data[i];
            for (int bit = 0; bit < 8; bit++)
                crc = crc >> 1 ^ (crc & 1 ? UINT32_C(0x82f63b78) : 0);
        }
        CHECK(em_crc32c(0, data, size) == ~crc);
        free(data);
    }
    CHECK(em_crc32c(0, "123456789", 9) == UINT32_C(0xe3069283));
}

static void check_confidence(void)
{
    uint32_t k = 1 + below(20);
    double vector[20];
    em_confidence c;
    em_confidence_reset(&c);
    for (uint32_t i = 0; i < k; i++)
        em_confidence_push(&c, vector[i] = draw());
    for (uint32_t i = 0; i < k; i++)
        CHECK(vector[i] <= c.first && (i == c.position || vector[i] <= c.second));
    CHECK(vector[c.position] == c.first && c.count == k && c.nan == false);
    double entropy = em_confidence_entropy(&c);
    CHECK(isnan(entropy) || (entropy >= 0.0 && entropy <= log(k)));
    em_confidence_push(&c, NAN);
    CHECK(c.nan && isnan(em_confidence_entropy(&c)));
}

/* One x again and again is the same pushed one by one, whether R settles meanwhile or not. */
static void check_repeat(const em_esr_table *table)
{
    em_esr one, many;
    CHECK(em_esr_init(&one, table, 100.0) == 0 && em_esr_init(&many, table, 100.0) == 0);
    for (int i = 0; i < 4; i++) {
        double x = draw(), y = draw();
        uint32_t count = below(2) ? below(20) : below(3 * EM_ESR_HISTORY);
        em_esr_push(&one, y);
        em_esr_push(&many, y);
        for (uint32_t k = 0; k < count; k++)
            em_esr_push(&one, x);
        em_esr_repeat(&many, x, count);
    }
    size_t size = em_esr_encoded_size(&one);
    uint8_t *a = malloc(size), *b = malloc(size);
    CHECK(a != NULL && b != NULL && size == em_esr_encoded_size(&many));
    em_esr_encode(&one, a);
    em_esr_encode(&many, b);
    CHECK(memcmp(a, b, size) == 0 && em_esr_mean(&one) == em_esr_mean(&many));
    free(a);
    free(b);
    em_esr_free(&one);
    em_esr_free(&many);
}

/* A stream and all that it is made of. */
typedef struct {
    em_moments moments;
    em_sketch sketch;
    em_hist hist;
    em_window window;
    em_ks ks;
    em_esr esr, rare_esr, missing_esr;
    em_answers outside, missing;
    em_watch watch;
    em_quality quality;
    uint32_t tells; /* how often the watch told something */
    uint32_t wrongs; /* and how often the quality did */
} stream;

static void open_stream(stream *s, const em_reference *reference, const em_esr_table *table,
                        const em_esr_table *yes_no, uint32_t n, int64_t threshold)
{
    static const double edges[] = {-1.0, 0.0, 0.0, 2.5};
    memset(s, 0, sizeof *s);
    em_moments_reset(&s->moments);
    CHECK(em_sketch_init(&s->sketch, 0.01, 64) == 0 && em_hist_init(&s->hist, edges, 4) == 0);
    CHECK(em_ks_init(&s->ks, reference, n, threshold) == 0);
    CHECK(em_esr_init(&s->esr, table, 30.0) == 0);
    CHECK(em_esr_init(&s->rare_esr, yes_no, 30.0) == 0);
    CHECK(em_esr_init(&s->missing_esr, yes_no, 30.0) == 0);
    s->window = (em_window){.moments = &s->moments, .sketch = &s->sketch, .hist = &s->hist};
    s->outside.esr = &s->rare_esr;
    s->missing.esr = &s->missing_esr;
    s->watch = (em_watch){.ks = &s->ks, .esr = &s->esr, .until = n};
    em_quality_init(&s->quality);
    s->quality.low = -2.0;
    s->quality.high = 3.0;
    s->quality.run_limit = 2 + n % 3;
    s->quality.counting = true;
    s->quality.rates.asked = (1u << EM_QUESTIONS) - 1;
    s->quality.rates.learning = n % 2;
    s->quality.rates.until = 1 + n;
}

static void close_stream(stream *s)
{
    em_sketch_free(&s->sketch);
    em_hist_free(&s->hist);
    em_ks_free(&s->ks);
    em_esr_free(&s->esr);
    em_esr_free(&s->rare_esr);
    em_esr_free(&s->missing_esr);
}

/* What an owner does when a watch tells something: latch, clear, switch e-SR. */
static void react(stream *s, unsigned told)
{
    uint32_t turn = s->tells++;
    if (told & EM_WATCH_TICK)
        s->watch.until = 1 + turn % 7;
    s->watch.latched = turn % 5 == 1;
    s->watch.esr = turn % 3 ? &s->esr : NULL;
    s->watch.esr_due = s->watch.pushed + turn % 4;
    em_ks_set_threshold(&s->ks, 1 + (int64_t)(turn % 9) * s->ks.lcm / 9);
}

/* The same of its quality, or of the rows where `s` has none. */
static void react_quality(em_rates *rates, stream *s, unsigned told, uint32_t turn)
{
    if (told & EM_QUALITY_TICK)
        rates->until = 1 + turn % 300;
    rates->learning = turn % 11 == 0;
    rates->muted = turn % 4 == 0 ? 1u << turn % EM_QUESTIONS : 0;
    if (s == NULL)
        return;
    s->wrongs++;
    s->quality.stuck = (told & EM_QUALITY_RUN) != 0;
    rates->answers[EM_ASK_OUTSIDE] = turn % 3 ? &s->outside : NULL;
    rates->answers[EM_ASK_MISSING] = turn % 5 ? &s->missing : NULL;
    rates->answers[EM_ASK_NAN] = NULL;
}

static void check_same_rates(const em_rates *a, const em_rates *b)
{
    CHECK(a->seen == b->seen && a->until == b->until && a->muted == b->muted);
    CHECK(memcmp(a->yes, b->yes, sizeof a->yes) == 0);
    CHECK(memcmp(a->learnt, b->learnt, sizeof a->learnt) == 0);
}

static void check_same(const stream *a, const stream *b)
{
    CHECK(a->moments.count == b->moments.count && a->moments.mean == b->moments.mean);
    CHECK(a->moments.m2 == b->moments.m2 && a->tells == b->tells);
    CHECK(memcmp(a->hist.counts, b->hist.counts, 5 * sizeof *a->hist.counts) == 0);
    CHECK(a->window.nan == b->window.nan && a->window.missing == b->window.missing);
    CHECK(a->window.pinf == b->window.pinf && a->window.ninf == b->window.ninf);
    CHECK(a->watch.pushed == b->watch.pushed);
    CHECK(a->quality.run == b->quality.run && a->quality.longest == b->quality.longest);
    CHECK(a->quality.ties == b->quality.ties && a->quality.numbers == b->quality.numbers);
    CHECK(a->quality.stuck == b->quality.stuck);
    check_same_rates(&a->quality.rates, &b->quality.rates);
    CHECK(a->watch.until == b->watch.until && a->outside.fed == b->outside.fed);
    CHECK(a->outside.yes == b->outside.yes && a->missing.yes == b->missing.yes);
    CHECK(a->ks.filled == b->ks.filled && em_esr_mean(&a->esr) == em_esr_mean(&b->esr));
    CHECK(em_esr_mean(&a->rare_esr) == em_esr_mean(&b->rare_esr));
    CHECK(em_esr_mean(&a->missing_esr) == em_esr_mean(&b->missing_esr));
}

enum { SLOTS = 4, TOLD = 4096 };

static void tell(uint64_t *log, uint32_t *count, uint32_t event, uint32_t slot, unsigned told)
{
    if (*count < TOLD)
        log[(*count)++] = (uint64_t)event << 32 | (uint64_t)slot << 24 | told;
}

/* Events by the table, and value for value: the same streams, and the same told of the same events. */
static void check_table(void)
{
    double values[40];
    uint32_t counts[40], u = 1 + below(40), n = 1 + below(30);
    for (uint32_t i = 0; i < u; i++) {
        values[i] = (double)i / 8.0 - 2.0;
        counts[i] = 1 + below(3);
    }
    em_reference reference;
    CHECK(em_reference_init(&reference, values, counts, u) == 0);
    double cuts[] = {-0.5, 1.0}, half = 0.5;
    em_esr_bet bets[] = {{.p = 0.3, .t = 0.6, .cut = 0}, {.p = 0.3, .t = 0.7, .cut = 1, .above = true}};
    em_esr_bet yes = {.p = 0.05, .t = 0.4, .cut = 0, .above = true};
    em_esr_table table, yes_no;
    CHECK(em_esr_table_init(&table, cuts, 2, bets, 2) == 0);
    CHECK(em_esr_table_init(&yes_no, &half, 1, &yes, 1) == 0);
    check_repeat(&table);
    check_repeat(&yes_no);
    stream fast[SLOTS], slow[SLOTS];
    em_table hot;
    CHECK(em_table_init(&hot, random_bits()) == 0);
    const uint8_t name[] = "model v", *version = name + 6, letters[] = "abc";
    em_model *other = em_table_add(&hot, name, 4, version, 0);
    em_model *model = em_table_add(&hot, name, 5, version, 1);
    CHECK(model != NULL && other != NULL);
    em_table_remove(&hot, other);
    for (uint32_t s = 0; s < SLOTS; s++) {
        open_stream(&fast[s], &reference, &table, &yes_no, n, 1 + reference.m);
        open_stream(&slow[s], &reference, &table, &yes_no, n, 1 + reference.m);
        em_role role = s == 0 ? EM_ROLE_OUTPUT : EM_ROLE_FEATURE;
        CHECK(em_model_add(&hot, model, role, &letters[s ? s - 1 : 0], 1, &fast[s].window,
                           &fast[s].watch, &fast[s].quality) == (int32_t)s);
    }
    em_rows fast_rows, slow_rows;
    em_rows_init(&fast_rows);
    fast_rows.late_s = 20.0;
    fast_rows.early_s = fast_rows.disorder_s = 5.0;
    fast_rows.rates.asked = (1u << EM_QUESTIONS) - 1;
    fast_rows.rates.until = 1 + below(300);
    slow_rows = fast_rows;
    model->rows = &fast_rows;
    hot.wall_s = 100.0;
    uint32_t fast_turns = 0, slow_turns = 0;
    uint64_t before[SLOTS];
    memset(before, 0xff, sizeof before);
    uint32_t positions[] = {3, 1, 2};
    CHECK(em_model_set_positions(model, positions, 3) == 0);
    model->features = SLOTS - 1;
    model->slow = false;
    model->keep = below(2) != 0;
    model->every = below(2) != 0;
    model->skip = below(20);
    uint64_t *told_fast = malloc(TOLD * sizeof *told_fast), *told_slow = malloc(TOLD * sizeof *told_slow);
    CHECK(told_fast != NULL && told_slow != NULL);
    uint32_t fast_count = 0, slow_count = 0, begun = 0, events = below(2500);
    for (uint32_t e = 0; e <= events; e++) {
        if (hot.block_count == 0) {
            model->gap_next = 0;
            model->gap_count = EM_GAPS;
            for (uint32_t k = 0; k < EM_GAPS; k++)
                model->gaps[k] = below(9);
        }
        em_feature features[3];
        em_event event = {.type = EM_PREDICTION, .model = {name, 5}, .version = {version, 1},
                          .positional = below(3) == 0, .features = features};
        event.kind = below(4) ? EM_NUMBER : EM_NONE;
        event.number = below(30) ? draw() : (double)NAN;
        event.id = (em_span){below(2) ? name : NULL, below(7)};
        event.id.size = event.id.data == NULL ? 0 : event.id.size;
        event.has_ts = below(2) != 0;
        event.ts = 70.0 + (double)below(40);
        uint32_t length = event.positional ? 3 : below(4), first = below(3);
        event.features_length = length;
        for (uint32_t k = 0; k < length; k++) {
            features[k] = (em_feature){.name = {&letters[(first + k) % 3], 1}, .kind = EM_NUMBER};
            features[k].as.number = below(9) ? draw() : (double)NAN;
            if (below(9) == 0)
                features[k].kind = EM_NONE;
        }
        em_taken taken = e < events ? em_table_take(&hot, &event) : EM_FULL;
        if (taken == EM_FULL) {
            uint32_t slot, at;
            unsigned told;
            while ((told = em_table_next(&hot, &slot, &at)) != 0) {
                tell(told_fast, &fast_count, begun + at, slot, told);
                if (slot == SLOTS)
                    react_quality(&fast_rows.rates, NULL, told, fast_turns++);
                else if (told & EM_TOLD_QUALITY)
                    react_quality(&fast[slot].quality.rates, &fast[slot], told, fast[slot].wrongs);
                else
                    react(&fast[slot], told);
            }
            CHECK(hot.block_count == 0 && hot.kept <= EM_BLOCK_ROWS);
            for (uint32_t k = 0; k < hot.kept; k++)
                CHECK(hot.kept_rows[k] < e - begun && hot.id_sizes[k] < 7);
            model->gap_next = 0;
            begun = e;
            taken = e < events ? em_table_take(&hot, &event) : EM_TAKEN;
        }
        CHECK(taken == EM_TAKEN || (taken == EM_SHOWN && !model->keep && model->skip == 0));
        if (e == events)
            break;
        if (taken == EM_SHOWN)
            model->skip = below(9);
        bool same = true;
        for (uint32_t s = 0; s < SLOTS; s++) {
            bool there = s == 0 && event.kind == EM_NUMBER, missing = s != 0;
            double x = event.number;
            for (uint32_t k = 0; s != 0 && k < length; k++) {
                uint32_t its = event.positional ? positions[k] : 1 + (first + k) % 3;
                if (its != s || features[k].kind == EM_NONE)
                    continue;
                there = true;
                x = features[k].as.number;
            }
            unsigned told = 0, wrong = 0;
            if (there) {
                em_window_push(&slow[s].window, &x, 1);
                if (x == x)
                    em_watch_push_until(&slow[s].watch, &x, 1, &told);
            } else if (missing) {
                slow[s].window.missing++;
            }
            if (told != 0) {
                tell(told_slow, &slow_count, e, s, told);
                react(&slow[s], told);
            }
            em_quality *quality = &slow[s].quality;
            if (there && x == x)
                em_quality_push_until(quality, &x, 1, &wrong);
            else if (there || missing)
                wrong = em_rates_answer(&quality->rates, there ? 1u << EM_ASK_NAN : 1u << EM_ASK_MISSING);
            if (wrong != 0) {
                tell(told_slow, &slow_count, e, s, wrong | EM_TOLD_QUALITY);
                react_quality(&quality->rates, &slow[s], wrong, slow[s].wrongs);
            }
            double cell = there && x != x ? (double)NAN : x;
            uint64_t bits = UINT64_MAX - 1; /* as no number has */
            if (there)
                memcpy(&bits, &cell, sizeof bits);
            same = same && (s == 0 || bits == before[s]);
            before[s] = bits;
        }
        unsigned wrong = event.has_ts ? em_rows_time(&slow_rows, event.ts, hot.wall_s) : 0;
        wrong |= length < SLOTS - 1 ? 1u << EM_ASK_FEATURES : 0;
        wrong |= same ? 1u << EM_ASK_REPEATED : 0;
        uint8_t row = (uint8_t)wrong;
        em_rows_push_until(&slow_rows, &row, 1, &wrong);
        if (wrong != 0) {
            tell(told_slow, &slow_count, e, SLOTS, wrong | EM_TOLD_QUALITY);
            react_quality(&slow_rows.rates, NULL, wrong, slow_turns++);
        }
    }
    qsort(told_fast, fast_count, sizeof *told_fast, by_bits);
    CHECK(fast_count == slow_count);
    if (fast_count < TOLD)
        CHECK(memcmp(told_fast, told_slow, fast_count * sizeof *told_fast) == 0);
    check_same_rates(&fast_rows.rates, &slow_rows.rates);
    for (uint32_t s = 0; s < SLOTS; s++) {
        check_same(&fast[s], &slow[s]);
        close_stream(&fast[s]);
        close_stream(&slow[s]);
    }
    free(told_fast);
    free(told_slow);
    em_table_free(&hot);
    em_esr_table_free(&table);
    em_esr_table_free(&yes_no);
    em_reference_free(&reference);
}

/* Vectors are numbers of two streams, and held in brief; of a model that joins they are not taken, and ids are held. */
static void check_vectors(void)
{
    em_sketch sketches[2];
    em_moments moments[2];
    em_window windows[2];
    em_table hot;
    const uint8_t name[] = "model";
    CHECK(em_table_init(&hot, random_bits()) == 0);
    em_model *model = em_table_add(&hot, name, 5, name, 0);
    CHECK(model != NULL);
    for (int s = 0; s < 2; s++) {
        em_moments_reset(&moments[s]);
        CHECK(em_sketch_init(&sketches[s], 0.01, 64) == 0);
        windows[s] = (em_window){.moments = &moments[s], .sketch = &sketches[s]};
        CHECK(em_model_add(&hot, model, s ? EM_ROLE_ENTROPY : EM_ROLE_CONFIDENCE, name, 0,
                           &windows[s], NULL, NULL) == s);
    }
    CHECK(em_table_brief(&hot, model, true) == 0);
    model->slow = false;
    model->skip = UINT64_MAX;
    double vector[20];
    uint32_t given = 0, taken = 0, slot, at;
    for (uint32_t e = below(3000); e > 0; e--) {
        em_event event = {.type = EM_PREDICTION, .model = {name, 5}, .version = {name, 0},
                          .kind = below(3) ? EM_VECTOR : EM_NONE, .vector = vector,
                          .id = {name, below(5)}};
        event.vector_length = 1 + below(20);
        for (uint32_t i = 0; i < event.vector_length; i++)
            vector[i] = below(40) ? (double)below(100) / 100.0 : draw();
        bool joins = model->joins;
        em_taken told = em_table_take(&hot, &event);
        if (told == EM_FULL || below(300) == 0) {
            for (uint32_t i = 0; i < hot.vector_count; i++)
                CHECK(hot.vectors[i].row < EM_BLOCK_ROWS && hot.vectors[i].width <= 20 &&
                      hot.vectors[i].brief.position < hot.vectors[i].width);
            CHECK(!model->joins || hot.block_count == 0 ||
                  (hot.join_count == hot.block_count && hot.vector_count == 0));
            taken += hot.vector_count;
            CHECK(em_table_next(&hot, &slot, &at) == 0);
            hot.vector_count = 0;
            if (below(4) == 0)
                CHECK(em_table_join(&hot, model, below(2) != 0) == 0);
            if (told == EM_FULL) {
                joins = model->joins;
                told = em_table_take(&hot, &event);
            }
        }
        CHECK(told == (joins && event.kind == EM_VECTOR ? EM_SLOW : EM_TAKEN));
        given += event.kind == EM_VECTOR && told == EM_TAKEN;
    }
    taken += hot.block_count ? hot.vector_count : 0;
    CHECK(em_table_next(&hot, &slot, &at) == 0);
    CHECK(taken == given);
    CHECK(moments[0].count + windows[0].nan + windows[0].pinf + windows[0].ninf == given);
    CHECK(moments[1].count + windows[1].nan == given && windows[0].missing == 0);
    em_table_free(&hot);
    em_sketch_free(&sketches[0]);
    em_sketch_free(&sketches[1]);
}

static void check_join(void)
{
    em_waiting waiting;
    uint32_t keep = 1 + below(90), lost;
    double values[4] = {0.5, draw(), draw(), draw()}, now_s = 0.0;
    em_waiting_init(&waiting, keep, 64 * (1 + below(100)), 20.0);
    for (int i = 0; i < 500; i++) {
        /* Sometimes one home for all in the index. */
        uint64_t id = (uint64_t)below(120) << (i % 2 ? 40 : 0);
        em_wait *wait = em_waiting_find(&waiting, id);
        CHECK(wait == NULL || wait->id == id);
        if (wait != NULL && below(3) == 0)
            em_waiting_answer(&waiting, wait);
        else if (wait != NULL)
            em_waiting_take(&waiting, wait);
        else
            CHECK(em_waiting_put(&waiting, id, now_s, (uint16_t)below(9), (em_wait_kind)below(4),
                                 values, 8 * below(5), &lost) == 0);
        CHECK(waiting.count <= keep && waiting.places <= waiting.room);
        CHECK(waiting.count > 0 || waiting.bytes == 0);
        if (below(20) == 0)
            em_waiting_expire(&waiting, now_s += draw() > 0.0 ? 7.0 : 1.0);
        if (below(200) == 0)
            em_waiting_clear(&waiting);
    }
    em_waiting_free(&waiting);
}

int main(void)
{
    check_largest_pvalues();
    for (int i = 0; i < 6; i++) /* large enough for bounds on h, in both widths that have them */
        check_ks(8000, 1, i % 2 ? 1 + below(8) : 300);
    for (int i = 0; i < 60; i++) {
        check_ks(1 + below(290), 1, 1 + below(60));
        check_ks(1 + below(9), 3, 1 + below(60));
        check_ks(1 + below(290), 7000000, 1 + below(60));
        check_ks(1 + below(290), 700, 1 + below(60));
        check_sketch(16 + below(40));
        check_sketch(1024);
        check_small_ones();
        check_join();
        check_vectors();
        check_esr(1 + below(EM_ESR_BETS));
        check_table();
        check_pvalue();
        for (int j = 0; j < 100; j++)
            check_confidence();
    }
    puts("done");
    return 0;
}
