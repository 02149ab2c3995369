/* Column kernels of the batch format: integers and floats to and from byte planes, and what they would cost.
 *
 * The bytes themselves are specified in one place, edgemon/wire/__init__.py; the names here follow it.
 *
 * Ownership: every buffer belongs to the caller, nothing is allocated, nothing is kept between calls, no IO, no
 * globals. Sizes are in bytes or elements as named. Arithmetic on integers wraps modulo 2^64 on purpose: that makes
 * every transform exact for every int64. All functions are O(n). Little-endian hosts only (checked when compiled).
 */
#ifndef EM_COLUMNS_H
#define EM_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EM_INTS_MAX_ORDER 2
#define EM_DECIMAL_MAX_DIGITS 17
#define EM_BINARY_MAX_BITS 60

/* How n integers become n - order residuals of `width` bytes each, stored as byte planes (all lowest bytes first,
 * then all second bytes, ...). residual = ((difference - base) / step) << shift, all modulo 2^64. */
typedef struct em_ints {
    int order;      /* how often neighbours are subtracted, 0..EM_INTS_MAX_ORDER and at most n */
    int width;      /* bytes a residual, 0..8 */
    int shift;      /* 0..63; only with step 1 */
    uint64_t first[EM_INTS_MAX_ORDER]; /* first element of the values, of their differences, ... */
    uint64_t base;  /* smallest difference (as int64), rounded down to a multiple of 2^align when planned so */
    uint64_t step;  /* >= 1, divides every difference - base */
} em_ints;

/* Plans and differences: writes the n - order differences to `differences` (may be `values` itself).
 * align: base becomes a multiple of 2^align, 0..63. shift: as in em_ints; 0 unless step is to stay 1.
 * Returns false when the residuals do not fit in 64 bits after the shift. order is lowered to n when n is smaller. */
bool em_ints_plan(const int64_t *values, size_t n, int order, int align, int shift, int64_t *differences, em_ints *plan);

/* Writes (n_differences * plan->width) bytes of planes. */
void em_ints_pack(const int64_t *differences, size_t n_differences, const em_ints *plan, uint8_t *planes);

/* The inverse: n values from (n - order) * width bytes. The caller has checked order <= n, width <= 8, shift <= 63. */
void em_ints_unpack(const uint8_t *planes, size_t n, const em_ints *plan, int64_t *values);

/* Float bits as integers. item 8: the value's own 64 bits; item 4: the 32 bits of the float that is equal to it.
 * map 0: monotonic (negative values have all bits but the sign inverted), so that neighbours have small differences.
 * map 1: rotated left by one, sign lowest, so that exponents of both signs share the top bits.
 * Returns false when item is 4 and a value is not exactly a float32 (NaN is one; its payload is dropped). */
bool em_float_keys(const double *values, size_t n, int item, int map, int64_t *keys);
void em_float_values(const int64_t *keys, size_t n, int item, int map, double *values);

/* Rounds to the nearest float32, in place; what is too large becomes infinite. */
void em_round_f32(double *values, size_t n);
bool em_all_f32(const double *values, size_t n);

/* The fewest decimal digits (divisor 10^digits), or binary digits (divisor 2^bits), with which all but one value in 32
 * of a sample of at most 256 are int / divisor: exactly, or, for decimals, within `tolerance` units in the last place.
 * -1 when there is none. */
int em_decimal_digits(const double *values, size_t n, int item, int tolerance);
int em_binary_bits(const double *values, size_t n);
double em_power_of_ten(int digits); /* 0..22, exact */

/* ints[k] = the integer with ints[k] / divisor == values[k] as item bytes, or within `tolerance` units in the last
 * place, the difference in residuals[k] (monotonic keys; NULL when tolerance is 0). Values that do not fit (NaN, ±inf,
 * -0.0, noise) are listed in patches (room for max_patches) and take their neighbour's integer, residual 0.
 * Returns the number of patches, or -1 when there would be more than max_patches. */
int64_t em_decimal_fit(const double *values, size_t n, int item, double divisor, int tolerance, int64_t *ints,
                       int64_t *residuals, uint32_t *patches, size_t max_patches);

/* values[k] = (ints[k] / divisor as item bytes) moved by residuals[k] units (residuals may be NULL). */
void em_decimal_values(const int64_t *ints, const int64_t *residuals, size_t n, int item, double divisor,
                       double *values);

/* Vectors whose elements sum to one, such as confidences, say one element twice. values: component-major, `length` >= 2
 * components of `rows` items each. The largest element of a row is left out of `rest` (component-major, length - 1),
 * its position goes to index and what 1 - (sum of the others, added in order) misses it by, in units in the last place
 * of item bytes, to residual. A sum that is NaN predicts 0. Exact for every input, useful only where residuals stay
 * small. item 4: every value is exactly a float32. */
void em_unit_split(const double *values, size_t rows, size_t length, int item, int64_t *index, int64_t *residual,
                   double *rest);
/* The inverse. False when an index is out of range. */
bool em_unit_join(const double *rest, const int64_t *index, const int64_t *residual, size_t rows, size_t length,
                  int item, double *values);

/* What an entropy coder with matches needs for these bytes: adds the bytes not covered by matches to `literals`
 * (256 counters) and returns the number of matches. A model of zstd, good enough to choose by; never for correctness. */
size_t em_model_scan(const uint8_t *bytes, size_t n, uint32_t *literals);
/* Bits for literals with such counts, table included, in one block; never more than storing them. */
double em_model_bits(const uint32_t *literals);
/* em_model_bits + matches over each of `planes` planes of n bytes each as a block of its own, in bits. */
double em_model_planes(const uint8_t *bytes, size_t n, size_t planes);

/* Where a compressor should end a block so that bytes of different distributions do not share one table.
 * ends[k] = offset behind segment k in bytes; keep[k] becomes 1 when a block should end there. scratch: 512 counters. */
void em_model_cuts(const uint8_t *bytes, const uint64_t *ends, size_t segments, uint8_t *keep, uint32_t *scratch);

#endif
