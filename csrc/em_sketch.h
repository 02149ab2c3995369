/* Quantiles of a stream with a guaranteed relative error, mergeable, in fixed memory: DDSketch [1].
 *
 * With gamma = (1 + a) / (1 - a), a magnitude x > 0 is counted in bin i = ceil(log x / log gamma),
 * which is (gamma^(i-1), gamma^i], and answered by 2 gamma^i / (gamma + 1), at most a * x from x.
 *
 * What is estimated: quantile q of N values is the one of rank floor(q * (N - 1)) when sorted, the
 * lower sample quantile; infinities are values like others here. The error is at most
 * a * |x| + one denormal, unless x lies in a collapsed bin; 0, -inf and +inf, the smallest and the
 * largest finite value are exact.
 *
 * Bins: `max_bins` counters shared by both signs, in the order of the values. When the magnitudes
 * of a sign span more bins than there is room for, its smallest magnitudes share one bin
 * (collapse), so that the far tails keep their accuracy; each sign has room for max_bins / 2, and
 * for all that the other does not use. A sign with max_bins bins of relative error a spans a
 * factor of gamma^max_bins: 7.8e8 for a = 0.01 and 1024 bins, 2.8e4 with half of them. The state
 * depends on the values alone, neither on their order nor on how merges were grouped. An odd
 * max_bins is used as the even number below.
 *
 * Input: any double but NaN. -0.0 equals 0.0.
 * Ranges: EM_SKETCH_ERROR_MIN <= a <= EM_SKETCH_ERROR_MAX, EM_SKETCH_BINS_MIN <= max_bins <=
 * EM_SKETCH_BINS_MAX; fewer than 2^63 values.
 * Ownership: em_sketch_init allocates the bins, em_sketch_free releases; nothing else allocates.
 * Complexity: push O(1), and O(max_bins) when the range of magnitudes grows; merge, quantile,
 * encode and decode O(max_bins).
 * Memory: sizeof(em_sketch) + 8 * max_bins bytes.
 *
 * [1] C. Masson, J. E. Rim, H. K. Lee, PVLDB 12 (2019) 2195-2205, arXiv 1908.10693.
 */
#ifndef EM_SKETCH_H
#define EM_SKETCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EM_SKETCH_ERROR_MIN 1e-4
#define EM_SKETCH_ERROR_MAX 0.5
#define EM_SKETCH_BINS_MIN UINT32_C(16)
#define EM_SKETCH_BINS_MAX UINT32_C(65536)
#define EM_SKETCH_VERSION 1

typedef struct {
    uint64_t count; /* values of this sign */
    int32_t low;    /* first and last bin that are not empty; 0 while count is 0 */
    int32_t high;
    bool collapsed; /* bin `low` holds smaller magnitudes too */
} em_sketch_side;

typedef struct {
    uint64_t *bins; /* negative bins from the left, largest magnitude first; positive ones at the
    right */ em_sketch_side positive, negative;
    uint64_t zeros, ninf, pinf;
    double min, max; /* of the finite values; +inf, -inf while there are none */
    double relative_error;
    double log_gamma;
    double log_middle; /* log(2 / (gamma + 1)) */
    double bins_per_octave;
    double rough_margin; /* how near a border, in bins, a rough logarithm does not tell the bin */
    uint32_t max_bins;
} em_sketch;

/* 0, or -1 when there is no memory. */
int em_sketch_init(em_sketch *sketch, double relative_error, uint32_t max_bins);
void em_sketch_free(em_sketch *sketch);
void em_sketch_reset(em_sketch *sketch);
void em_sketch_push(em_sketch *sketch, double x);
/* As em_sketch_push of each. */
void em_sketch_push_many(em_sketch *sketch, const double *x, size_t count);
/* All values, infinities too. */
uint64_t em_sketch_count(const em_sketch *sketch);
/* Adds all of `other`, which has the same relative error and max_bins and is not the same object.
 * 0, or -1, with nothing changed, when there would be 2^63 values or more. */
int em_sketch_merge(em_sketch *sketch, const em_sketch *other);
/* 0 <= q <= 1.  NaN when the sketch is empty. */
double em_sketch_quantile(const em_sketch *sketch, double q);
size_t em_sketch_memory(const em_sketch *sketch);

/* Bytes, version 1. u: unsigned LEB128, shortest form.  z: signed as zigzag u.  f: IEEE double,
little endian.
 *
 *     byte   version, 1
 *     byte   flags: 1 positive side collapsed, 2 negative side collapsed, 4 there are finite values
 *     f      relative error
 *     u      max_bins, zeros, ninf, pinf
 *     f f    min, max                               only with flag 4
 *     side   negative
 *     side   positive
 *     side = u runs; if any: z low; then for each run of neighbours that are not empty:
 *            u gap since the run before (absent in the first), u length, length times u count
 *
 * Equal sketches have equal bytes. Returns the size; writes at most `room` bytes, so call with
 * room 0 to learn the size. O(max_bins). */
size_t em_sketch_encode(const em_sketch *sketch, uint8_t *out, size_t room);
/* What em_sketch_init needs to take these bytes; false when they are damaged or of another
version. */ bool em_sketch_peek(const uint8_t *bytes, size_t size, double *relative_error, uint32_t
*max_bins); /* Into an empty sketch made with what em_sketch_peek said. False when the bytes are
damaged; the
 * sketch is empty then. Reads within [bytes, bytes + size) only. */
bool em_sketch_decode(em_sketch *sketch, const uint8_t *bytes, size_t size);

#endif
