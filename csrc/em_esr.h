/* The e-SR change detector: an alarm whose chance under the null is bounded for any number of
 * observations, from a state of some hundred floats.
 *
 * A bet k watches one half-line: x <= cut or x > cut. Let p bound its probability before the change
 * from above, and t > p be what the bet fears. Each observation multiplies by its factor
 *
 *     e = t / p where x lies in the half-line, else (1 - t) / (1 - p);        R <- (R + 1) e
 *
 * The expectation of e is at most 1 while the probability is at most p, so that of R is at most the
 * number N of observations; the alarm is mean of R over the bets >= A. Stopped at the first alarm,
 * the mean is at least A, and its expectation is at most N: P(any alarm in N) <= N / A.
 * Source: Shin, Ramdas, Rinaldo, E-detectors, arXiv 2203.03532.
 *
 * Cells. The cuts divide the line into cut_count + 1 cells: cell c is cuts[c-1] < x <= cuts[c]. All
 * that an observation does is to choose a row of the table: the factors of all bets in its cell.
 *
 * Floats err to the safe side. A factor is made smaller by 2^-22 of itself, more than the three
 * roundings of a step (of the factor, R + 1 and the product) can make up, and the limit of the sum
 * larger by 2^-20, more than the roundings of its additions. So R as computed is at most R as
 * defined, whatever the length of the stream. R is cut off at EM_ESR_CEILING: a mean over at most
 * EM_ESR_BETS bets that holds one such R is above EM_ESR_LIMIT_MAX, hence above A, so that the cut
 * never changes whether an alarm has come; nothing overflows. The order of all operations is fixed:
 * every processor computes the same bits.
 *
 * Since when. The cells of the last EM_ESR_HISTORY observations are kept, four bits each. The
 * product of the factors of the bet with the largest R, from an observation to the last, is the
 * likelihood of a change at that observation: where it is largest is the estimate.
 *
 * Input: any double but NaN (the caller counts those); the cuts may not be infinite, x may be.
 * Ownership: em_esr_table_init copies; a table is constant from then on, may be shared between any
 * number of em_esr and must outlive them. em_esr_init allocates all that em_esr ever uses.
 * Complexity: a push is O(width), width = bets rounded up to 16: for 120 bets 16 vector operations
 * of each kind (AVX2) or 32 (SSE2, NEON).
 * Memory: em_esr_table: sizeof + 4 width (cut_count + 1) + bets;  em_esr: sizeof + 4 width.
 *
 * Checkpoint, version 1; integers and floats are little-endian:
 *
 *     offset  bytes   what
 *     0       1       1
 *     1       1       zero
 *     2       2       bets
 *     4       8       fingerprint of the table
 *     12      8       pushes
 *     20      4 bets  R
 *     -       (k+1)/2 the last k = min(pushes, EM_ESR_HISTORY) cells, the oldest first, four bits
 *                     each, the earlier of two in the lower; the rest of the last byte is zero
 *
 * It has no checksum: the file that holds it has one.
 */
#ifndef EM_ESR_H
#define EM_ESR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EM_ESR_CUTS 15
#define EM_ESR_BETS 128
#define EM_ESR_HISTORY UINT32_C(2048)
#define EM_ESR_LIMIT_MAX 1e29
#define EM_ESR_CEILING 1e32f
/* Bounds of probabilities: below, a factor would not fit a float. */
#define EM_ESR_P_MIN 1e-30

typedef struct {
    double p; /* in [EM_ESR_P_MIN, t) */
    double t; /* in (p, 1) */
    uint32_t cut;
    bool above; /* the half-line is x > cuts[cut], else x <= cuts[cut] */
} em_esr_bet;

typedef struct {
    double cuts[EM_ESR_CUTS + 1]; /* increasing, then +inf */
    float *factors;               /* a row of `width` for each cell; 0 behind the last bet */
    float largest[EM_ESR_CUTS + 1]; /* factor of each cell */
    uint8_t *half_lines;          /* of each bet: 2 * cut + above */
    uint64_t fingerprint;         /* of cuts and factors */
    uint32_t cut_count;
    uint32_t bets;
    uint32_t width;
} em_esr_table;

typedef struct {
    const em_esr_table *table; /* borrowed */
    float *r;                  /* width; 0 behind the last bet */
    uint64_t pushes;
    double limit;      /* A */
    float limit_total; /* of the sum of R, rounded up */
    float total;       /* the sum of R after the last push */
    bool wide_vectors; /* the processor has AVX2 */
    uint8_t history[EM_ESR_HISTORY / 2];
} em_esr;

typedef struct {
    double r;       /* the largest R; 0 before the first push */
    double cut;     /* of the first bet that has it */
    bool above;     /* its side */
    uint32_t since; /* observations since the change, the last included; 0: none is likelier */
} em_esr_peak;

/* cuts: 1 <= cut_count <= EM_ESR_CUTS, finite, strictly increasing.  bets: 1 <= count <=
 * EM_ESR_BETS, within the ranges above.  0, or -1 when there is no memory. */
int em_esr_table_init(em_esr_table *table, const double *cuts, uint32_t cut_count,
                      const em_esr_bet *bets, uint32_t count);
void em_esr_table_free(em_esr_table *table);
/* The cell of x, in [0, cut_count]. */
uint32_t em_esr_table_cell(const em_esr_table *table, double x);
size_t em_esr_table_memory(const em_esr_table *table);

/* 0 < limit <= EM_ESR_LIMIT_MAX.  0, or -1 when there is no memory. */
int em_esr_init(em_esr *esr, const em_esr_table *table, double limit);
void em_esr_free(em_esr *esr);
/* Forgets all observations. */
void em_esr_reset(em_esr *esr);
void em_esr_set_limit(em_esr *esr, double limit);
/* True when the mean of R, with x taken, is at least the limit. */
bool em_esr_push(em_esr *esr, double x);
/* Pushes until one is true: the number pushed; the last of them was true if *crossed. */
size_t em_esr_push_until(em_esr *esr, const double *x, size_t count, bool *crossed);
/* `count` pushes of one x, of which none is answered. R settles where x stays the same: then only the history moves
 * on, and any number of pushes costs no more than EM_ESR_HISTORY. */
void em_esr_repeat(em_esr *esr, double x, uint64_t count);
/* The mean of R. */
double em_esr_mean(const em_esr *esr);
/* O(width + history). */
em_esr_peak em_esr_strongest(const em_esr *esr);
size_t em_esr_memory(const em_esr *esr);

size_t em_esr_encoded_size(const em_esr *esr);
/* out: room for em_esr_encoded_size bytes. */
void em_esr_encode(const em_esr *esr, uint8_t *out);
/* False, and esr reset, where the bytes are not a checkpoint of a detector with this table. */
bool em_esr_decode(em_esr *esr, const uint8_t *data, size_t size);

#endif
