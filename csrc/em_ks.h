/* The exact two-sample Kolmogorov-Smirnov statistic of a fixed reference (m observations) against a
 * sliding window (the last n), and the alarm `h >= threshold` exactly at every observation.
 *
 * With g = gcd(m, n), w_r = n / g, w_w = m / g and lcm = m * n / g, all in integers,
 *
 *     P(x) = w_r * #reference <= x  -  w_w * #window <= x          h = max over x of |P(x)|
 *
 * and D = h / lcm is the statistic, ties included. While the window fills, n is the number of
 * observations seen, so g, w_r, w_w, h and lcm change with each; with none, h = 0 and lcm = m.
 *
 * Buckets. The distinct reference values r_0 < ... < r_{u-1} cut the line into 2u + 1 buckets: 2i
 * + 1 is "equal to r_i", 2i is "between r_{i-1} and r_i" (open ends at 0 and 2u). P changes only at
 * bucket borders, so h is the largest |prefix sum| of one step per bucket: w_r * multiplicity (odd
 * buckets) minus w_w * window count. The steps are kept, a slide changes two of them.
 *
 * Skip-ahead. One slide changes h by at most w_w. After a scan that found h, the decision can first
 * differ at slide ceil((T - h) / w_w) when h < T, and at floor((h - T) / w_w) + 1 when h >= T. The
 * steps are scanned at that slide, never later and not before; every decision is the same as with a
 * scan at each slide.
 *
 * Lanes. The steps lie in 16 stripes, each a range of neighbouring buckets. Where u is large, the sum
 * of each stripe and the number of its changes are kept too: they bound h from above in O(1), since
 * the extremes that a scan found within a stripe can only have moved by as many steps as changed in
 * it. A look that finds this bound well below T puts off the scan: a sixth of the scans are left.
 *
 * Input: any double but NaN (the caller counts those); -0.0 equals 0.0; the reference may hold
 * infinities. Ranges: 1 <= m, n <= EM_KS_MAX, so lcm < 2^62; u <= EM_KS_MAX_DISTINCT.
 *
 * Ownership: em_reference_init copies; a reference is constant from then on, may be shared between
 * any number of em_ks and must outlive them. em_ks_init allocates all that em_ks ever uses.
 * Complexity: a push is O(1) plus the rank search, O(log of what shares a guide cell), plus O(u) in
 * the pushes that are due for a scan. A stream that hovers at the threshold scans every time, or when
 * u is large, every time that the stripe with the maximum has changed.
 * Memory: em_reference: sizeof + 12 u + 32 + 4 (guide_cells + 2), guide_cells = u, bytes.
 *         em_ks: sizeof + s * 16 ceil((2u + 1) / 16) + b * n bytes, where s = 2 while lcm < 2^15,
 *         4 while lcm < 2^31, else 8; b = 2 while 2u + 1 <= 65536, else 4; and 512 more when u >= 2040
 *         and s < 8.
 */
#ifndef EM_KS_H
#define EM_KS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EM_KS_MAX INT32_MAX
#define EM_KS_MAX_DISTINCT (INT32_C(1) << 28)

typedef struct {
    double *values;       /* u, strictly increasing, then a few times NaN */
    uint32_t *cumulative; /* u: observations <= values[i] */
    uint32_t *guide;      /* guide_cells + 2: values whose cell is < c */
    double low, high;     /* range that the guide spans; what lies outside is in the end cells */
    double scale;         /* cells per unit; 0 when there is only one cell */
    uint32_t u;
    uint32_t m;
    uint32_t guide_cells;
} em_reference;

enum { EM_KS_LANES = 16 };

/* What is known of each stripe of the steps. */
typedef struct {
    int64_t sums[EM_KS_LANES];    /* now */
    int64_t tops[EM_KS_LANES];    /* largest prefix sum when they were scanned */
    int64_t bottoms[EM_KS_LANES]; /* smallest */
    int64_t changes[EM_KS_LANES]; /* steps changed since */
} em_ks_lanes;

typedef struct {
    int64_t h;
    int64_t lcm;     /* of m and the observations seen */
    uint32_t bucket; /* the first where |P| is largest; 0 when h is 0 */
    int direction;   /* +1: the window lies higher than the reference there, -1 lower, 0: h is 0 */
} em_ks_peak;

typedef struct {
    const em_reference *reference; /* borrowed */
    void *steps;                   /* rows * 16, striped: bucket k is at (k % rows) * 16 + k / rows
    */ void *ring;                    /* n slots of `steps`, of the observations in the window */
    em_ks_lanes *lanes;            /* NULL where a scan is cheap, or lcm large */
    uint64_t inverse_rows;         /* ceil(2^58 / rows): division by multiplication */
    uint32_t rows;
    uint32_t buckets; /* 2u + 1 */
    uint32_t n;
    uint32_t filled; /* observations seen, at most n */
    uint32_t head;   /* the oldest observation once the window is full */
    uint32_t scan_interval;
    int64_t w_r, w_w, lcm; /* of the full window */
    int64_t threshold;     /* >= 1 */
    int64_t h;             /* found by the last look, or what it was not larger than */
    int64_t scanned_h;     /* found by the last scan */
    int64_t planned;       /* slides from the last scan to the next */
    int64_t due;           /* slides from now to the next scan */
    uint64_t scans;
    uint8_t step_bytes; /* 2, 4 or 8 */
    uint8_t slot_bytes; /* 2 or 4 */
    bool exact;         /* `h` was h, not only a bound */
    bool above;         /* h >= threshold after the last push */
    bool wide_vectors;  /* the processor has AVX2 */
} em_ks;

/* values: u, strictly increasing, no NaN.  counts: u, each >= 1, their sum at most EM_KS_MAX.
 * 0, or -1 when there is no memory. O(u). */
int em_reference_init(em_reference *reference, const double *values, const uint32_t *counts,
                      uint32_t u);
void em_reference_free(em_reference *reference);
/* The bucket of x, in [0, 2u]. */
uint32_t em_reference_bucket(const em_reference *reference, double x);
/* Observations <= x. */
uint32_t em_reference_rank(const em_reference *reference, double x);
size_t em_reference_memory(const em_reference *reference);

/* 1 <= n <= EM_KS_MAX, threshold >= 1.  0, or -1 when there is no memory. */
int em_ks_init(em_ks *ks, const em_reference *reference, uint32_t n, int64_t threshold);
void em_ks_free(em_ks *ks);
/* Forgets the window and the count of scans; threshold and scan interval stay. O(u). */
void em_ks_reset(em_ks *ks);
/* Adds x, dropping the oldest once full. True when the window is full and h >= threshold. */
bool em_ks_push(em_ks *ks, double x);
/* Pushes until one can be true, that one included: >= 1. O(1). */
uint64_t em_ks_quiet(const em_ks *ks);
/* Pushes until one is true: the number pushed; the last of them was true if *crossed. */
size_t em_ks_push_until(em_ks *ks, const double *x, size_t count, bool *crossed);
/* h of the observations seen, exact now. O(u) unless the last push scanned. */
int64_t em_ks_h(em_ks *ks);
/* Where the maximum is. O(u), not vectorised. */
em_ks_peak em_ks_locate(const em_ks *ks);
/* counts: room for 2u + 1; the window's observations in each bucket. O(u). */
void em_ks_counts(const em_ks *ks, uint32_t *counts);
/* buckets: room for `filled`; the bucket of each observation in the window, oldest first. O(n). */
void em_ks_buckets(const em_ks *ks, uint32_t *buckets);
/* Plans the next scan anew; an overdue one happens at the next push. O(1). */
void em_ks_set_threshold(em_ks *ks, int64_t threshold);
/* At least this many slides (>= 1) between scans. Above 1 the answers may be late by so many, so it
 * is for a stream whose alarm is latched already. */
void em_ks_set_scan_interval(em_ks *ks, uint32_t slides);
size_t em_ks_memory(const em_ks *ks);

#endif
