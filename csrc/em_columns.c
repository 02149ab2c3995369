#include "em_columns.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "em_gcd.h"

#if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the batch format is little-endian and so must be the host"
#endif

static const double POWERS_OF_TEN[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                       1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
static const double EXACT_INT = 9007199254740992.0; /* 2^53 */

/* ---- integers ---------------------------------------------------------------------------------------------------- */

bool em_ints_plan(const int64_t *values, size_t n, int order, int align, int shift, int64_t *differences, em_ints *plan)
{
    if ((size_t)order > n) {
        order = (int)n;
    }
    memset(plan, 0, sizeof *plan);
    plan->order = order;
    plan->shift = shift;
    plan->step = 1;
    if (differences != values) {
        memcpy(differences, values, n * sizeof *values);
    }
    for (int level = 0; level < order; level++) {
        plan->first[level] = (uint64_t)differences[0];
        n -= 1;
        for (size_t k = 0; k < n; k++) {
            differences[k] = (int64_t)((uint64_t)differences[k + 1] - (uint64_t)differences[k]);
        }
    }
    if (n == 0) {
        plan->shift = 0;
        return true;
    }
    int64_t low = differences[0];
    int64_t high = differences[0];
    for (size_t k = 1; k < n; k++) {
        low = differences[k] < low ? differences[k] : low;
        high = differences[k] > high ? differences[k] : high;
    }
    plan->base = (uint64_t)low & (UINT64_MAX << align);
    uint64_t range = (uint64_t)high - plan->base;
    if (shift > 0) {
        if (range >> (64 - shift) != 0) {
            return false;
        }
        range <<= shift;
    } else if (align == 0) {
        uint64_t step = range;
        for (size_t k = 0; k < n && step > 1; k++) {
            step = em_gcd(step, (uint64_t)differences[k] - plan->base);
        }
        plan->step = step > 1 ? step : 1;
        range /= plan->step;
    }
    while (plan->width < 8 && range >> (8 * plan->width) != 0) {
        plan->width += 1;
    }
    return true;
}

void em_ints_pack(const int64_t *differences, size_t n_differences, const em_ints *plan, uint8_t *planes)
{
    const size_t n = n_differences;
    for (size_t k = 0; k < n; k++) {
        uint64_t residual = (uint64_t)differences[k] - plan->base;
        if (plan->step > 1) {
            residual /= plan->step;
        }
        residual <<= plan->shift;
        for (int byte = 0; byte < plan->width; byte++) {
            planes[(size_t)byte * n + k] = (uint8_t)(residual >> (8 * byte));
        }
    }
}

void em_ints_unpack(const uint8_t *planes, size_t n, const em_ints *plan, int64_t *values)
{
    const size_t order = (size_t)plan->order;
    const size_t m = n - order;
    for (size_t k = 0; k < m; k++) {
        uint64_t residual = 0;
        for (int byte = 0; byte < plan->width; byte++) {
            residual |= (uint64_t)planes[(size_t)byte * m + k] << (8 * byte);
        }
        values[order + k] = (int64_t)((residual >> plan->shift) * plan->step + plan->base);
    }
    for (size_t level = order; level-- > 0;) {
        values[level] = (int64_t)plan->first[level];
        for (size_t k = level + 1; k < n; k++) {
            values[k] = (int64_t)((uint64_t)values[k] + (uint64_t)values[k - 1]);
        }
    }
}

/* ---- floats as integers ------------------------------------------------------------------------------------------ */

static int64_t key_of(double value, int item, int map)
{
    if (item == 4) {
        float narrow = (float)value;
        uint32_t bits;
        memcpy(&bits, &narrow, sizeof bits);
        if (map == 1) {
            return (int64_t)(uint32_t)(bits << 1 | bits >> 31);
        }
        int32_t key = (int32_t)bits;
        return key < 0 ? key ^ INT32_MAX : key;
    }
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if (map == 1) {
        return (int64_t)((bits << 1 | bits >> 63) ^ (UINT64_C(1) << 63));
    }
    int64_t key = (int64_t)bits;
    return key < 0 ? key ^ INT64_MAX : key;
}

static double value_of(int64_t key, int item, int map)
{
    if (item == 4) {
        uint32_t bits = (uint32_t)(uint64_t)key;
        if (map == 1) {
            bits = bits >> 1 | bits << 31;
        } else if (bits >> 31) {
            bits ^= (uint32_t)INT32_MAX;
        }
        float narrow;
        memcpy(&narrow, &bits, sizeof narrow);
        return (double)narrow;
    }
    uint64_t bits = (uint64_t)key;
    if (map == 1) {
        bits ^= UINT64_C(1) << 63;
        bits = bits >> 1 | bits << 63;
    } else if (key < 0) {
        bits ^= (uint64_t)INT64_MAX;
    }
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static bool is_f32(double value)
{
    return isnan(value) || (double)(float)value == value;
}

bool em_all_f32(const double *values, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        if (!is_f32(values[k])) {
            return false;
        }
    }
    return true;
}

void em_round_f32(double *values, size_t n)
{
    for (size_t k = 0; k < n; k++) {
        values[k] = (double)(float)values[k];
    }
}

bool em_float_keys(const double *values, size_t n, int item, int map, int64_t *keys)
{
    if (item == 4 && !em_all_f32(values, n)) {
        return false;
    }
    for (size_t k = 0; k < n; k++) {
        keys[k] = key_of(values[k], item, map);
    }
    return true;
}

void em_float_values(const int64_t *keys, size_t n, int item, int map, double *values)
{
    for (size_t k = 0; k < n; k++) {
        values[k] = value_of(keys[k], item, map);
    }
}

/* ---- floats as fractions ----------------------------------------------------------------------------------------- */

double em_power_of_ten(int digits)
{
    return POWERS_OF_TEN[digits];
}

/* Units in the last place from integer / divisor to value. INT64_MAX: no integer comes within `tolerance`. */
static int64_t fraction_residual(double value, int item, double divisor, int tolerance, int64_t *integer)
{
    double scaled = value * divisor;
    if (!(fabs(scaled) <= EXACT_INT)) {
        return INT64_MAX; /* NaN and ±inf end here too */
    }
    double whole = nearbyint(scaled);
    int64_t best = INT64_MAX;
    /* The product is rounded: near 2^53 the right integer may be a neighbour. */
    int reach = fabs(whole) > EXACT_INT / 16 ? 1 : 0;
    for (int offset = -reach; offset <= reach; offset++) {
        double candidate = whole + offset;
        int64_t residual = (int64_t)((uint64_t)key_of(value, item, 0) - (uint64_t)key_of(candidate / divisor, item, 0));
        if (residual >= -tolerance && residual <= tolerance && fabs(candidate) <= EXACT_INT &&
            (best == INT64_MAX || llabs(residual) < llabs(best))) {
            best = residual;
            *integer = (int64_t)candidate;
        }
    }
    return best;
}

#define SAMPLE 256

static size_t stride_of(size_t n)
{
    return n <= SAMPLE ? 1 : (n + SAMPLE - 1) / SAMPLE;
}

/* The smallest level that covers all but one in 32 of the values seen; -1 when there is none. */
static int covering_level(const uint32_t *seen_at, int levels, uint32_t seen)
{
    uint32_t covered = 0;
    for (int level = 0; level < levels; level++) {
        covered += seen_at[level];
        if (seen_at[level] > 0 && covered >= seen - seen / 32) {
            return level;
        }
    }
    return -1;
}

int em_decimal_digits(const double *values, size_t n, int item, int tolerance)
{
    uint32_t seen_at[EM_DECIMAL_MAX_DIGITS + 1] = {0};
    uint32_t seen = 0;
    for (size_t k = 0; k < n; k += stride_of(n)) {
        seen += 1;
        for (int digits = 0; digits <= EM_DECIMAL_MAX_DIGITS; digits++) {
            int64_t integer;
            if (fraction_residual(values[k], item, POWERS_OF_TEN[digits], tolerance, &integer) != INT64_MAX) {
                seen_at[digits] += 1;
                break;
            }
        }
    }
    return covering_level(seen_at, EM_DECIMAL_MAX_DIGITS + 1, seen);
}

int em_binary_bits(const double *values, size_t n)
{
    uint32_t seen_at[EM_BINARY_MAX_BITS + 1] = {0};
    uint32_t seen = 0;
    for (size_t k = 0; k < n; k += stride_of(n)) {
        seen += 1;
        if (!isfinite(values[k])) {
            continue;
        }
        int exponent;
        double mantissa = ldexp(fabs(frexp(values[k], &exponent)), 53);
        uint64_t bits = (uint64_t)mantissa;
        int fraction = bits == 0 ? 0 : 53 - exponent - __builtin_ctzll(bits);
        if (fraction <= EM_BINARY_MAX_BITS) {
            seen_at[fraction < 0 ? 0 : fraction] += 1;
        }
    }
    return covering_level(seen_at, EM_BINARY_MAX_BITS + 1, seen);
}

int64_t em_decimal_fit(const double *values, size_t n, int item, double divisor, int tolerance, int64_t *ints,
                       int64_t *residuals, uint32_t *patches, size_t max_patches)
{
    size_t patched = 0;
    for (size_t k = 0; k < n; k++) {
        int64_t integer = 0;
        int64_t residual = fraction_residual(values[k], item, divisor, tolerance, &integer);
        if (residual == INT64_MAX) {
            if (patched == max_patches) {
                return -1;
            }
            patches[patched++] = (uint32_t)k;
            integer = k > 0 ? ints[k - 1] : 0;
            residual = 0;
        }
        ints[k] = integer;
        if (residuals != NULL) {
            residuals[k] = residual;
        }
    }
    return (int64_t)patched;
}

void em_decimal_values(const int64_t *ints, const int64_t *residuals, size_t n, int item, double divisor,
                       double *values)
{
    for (size_t k = 0; k < n; k++) {
        double value = (double)ints[k] / divisor;
        if (residuals != NULL || item == 4) {
            uint64_t key = (uint64_t)key_of(value, item, 0);
            key += residuals != NULL ? (uint64_t)residuals[k] : 0;
            value = value_of((int64_t)key, item, 0);
        }
        values[k] = value;
    }
}

/* ---- vectors that sum to one ------------------------------------------------------------------------------------- */

static int64_t predicted_key(const double *rest, size_t rows, size_t others, size_t row, int item)
{
    double sum = 0.0;
    for (size_t k = 0; k < others; k++) {
        sum += rest[k * rows + row];
    }
    double left = 1.0 - sum;
    return key_of(isnan(left) ? 0.0 : left, item, 0);
}

void em_unit_split(const double *values, size_t rows, size_t length, int item, int64_t *index, int64_t *residual,
                   double *rest)
{
    for (size_t row = 0; row < rows; row++) {
        size_t largest = 0;
        for (size_t k = 1; k < length; k++) {
            if (values[k * rows + row] > values[largest * rows + row]) {
                largest = k;
            }
        }
        for (size_t k = 0; k + 1 < length; k++) {
            rest[k * rows + row] = values[(k < largest ? k : k + 1) * rows + row];
        }
        uint64_t key = (uint64_t)key_of(values[largest * rows + row], item, 0);
        index[row] = (int64_t)largest;
        residual[row] = (int64_t)(key - (uint64_t)predicted_key(rest, rows, length - 1, row, item));
    }
}

bool em_unit_join(const double *rest, const int64_t *index, const int64_t *residual, size_t rows, size_t length,
                  int item, double *values)
{
    for (size_t row = 0; row < rows; row++) {
        if (index[row] < 0 || (uint64_t)index[row] >= length) {
            return false;
        }
        size_t largest = (size_t)index[row];
        uint64_t key = (uint64_t)predicted_key(rest, rows, length - 1, row, item) + (uint64_t)residual[row];
        for (size_t k = 0; k < length; k++) {
            values[k * rows + row] = k == largest ? value_of((int64_t)key, item, 0)
                                                  : rest[(k < largest ? k : k - 1) * rows + row];
        }
    }
    return true;
}

/* ---- a model of the compressor ----------------------------------------------------------------------------------- */

#define HASH_BITS 10
#define MIN_MATCH 6
static const double MATCH_BITS = 20.0;    /* a sequence: offset, two lengths */
static const double BLOCK_BITS = 72.0;    /* block, literals and sequences headers, and the start of a table */
static const double SYMBOL_BITS = 4.5;    /* one more symbol in a Huffman table */
static const uint32_t FEW_LITERALS = 64;  /* zstd stores fewer literals than these as they are */

static uint32_t load32(const uint8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

size_t em_model_scan(const uint8_t *bytes, size_t n, uint32_t *literals)
{
    uint32_t last_seen[1 << HASH_BITS] = {0}; /* position + 1 */
    size_t matches = 0;
    size_t k = 0;
    while (k + MIN_MATCH <= n) {
        uint32_t word = load32(bytes + k);
        uint32_t slot = (word * UINT32_C(2654435761)) >> (32 - HASH_BITS);
        size_t before = last_seen[slot];
        last_seen[slot] = (uint32_t)k + 1;
        size_t length = 0;
        if (before != 0 && load32(bytes + before - 1) == word) {
            const uint8_t *old = bytes + before - 1;
            length = 4;
            while (k + length < n && old[length] == bytes[k + length]) {
                length += 1;
            }
        }
        if (length >= MIN_MATCH) {
            matches += 1;
            k += length;
        } else {
            literals[bytes[k]] += 1;
            k += 1;
        }
    }
    for (; k < n; k++) {
        literals[bytes[k]] += 1;
    }
    return matches;
}

/* log2 within 0.01 for x >= 1: the exponent and a parabola through the mantissa. */
static double quick_log2(uint32_t x)
{
    float value = (float)x;
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    float exponent = (float)((int)(bits >> 23) - 127);
    bits = (bits & 0x7fffff) | 0x3f800000;
    float mantissa;
    memcpy(&mantissa, &bits, sizeof mantissa);
    return (double)(exponent + (-1.0f / 3.0f * mantissa + 2.0f) * mantissa - 5.0f / 3.0f);
}

double em_model_bits(const uint32_t *literals)
{
    uint32_t total = 0;
    uint32_t distinct = 0;
    uint32_t most = 0;
    double weighted = 0.0;
    for (int symbol = 0; symbol < 256; symbol++) {
        uint32_t count = literals[symbol];
        if (count != 0) {
            weighted += count * quick_log2(count);
            distinct += 1;
            total += count;
            most = count > most ? count : most;
        }
    }
    double stored = 8.0 * total;
    if (total < FEW_LITERALS) {
        return stored;
    }
    if (distinct == 1) {
        return 16.0;
    }
    double coded = total * quick_log2(total) - weighted;
    if (coded < total) {
        coded = total; /* Huffman spends a bit a symbol at least */
    }
    coded += SYMBOL_BITS * distinct;
    return coded < stored ? coded : stored;
}

double em_model_planes(const uint8_t *bytes, size_t n, size_t planes)
{
    double bits = 0.0;
    for (size_t plane = 0; plane < planes; plane++) {
        uint32_t literals[256] = {0};
        size_t matches = em_model_scan(bytes + plane * n, n, literals);
        bits += (double)matches * MATCH_BITS + em_model_bits(literals);
    }
    return bits;
}

void em_model_cuts(const uint8_t *bytes, const uint64_t *ends, size_t segments, uint8_t *keep, uint32_t *scratch)
{
    uint32_t *open = scratch;
    uint32_t *next = scratch + 256;
    memset(open, 0, 256 * sizeof *open);
    double open_bits = 0.0;
    size_t start = 0;
    for (size_t k = 0; k < segments; k++) {
        size_t end = (size_t)ends[k];
        memset(next, 0, 256 * sizeof *next);
        em_model_scan(bytes + start, end - start, next);
        double next_bits = em_model_bits(next);
        uint32_t joint[256];
        for (int symbol = 0; symbol < 256; symbol++) {
            joint[symbol] = open[symbol] + next[symbol];
        }
        double joint_bits = em_model_bits(joint);
        keep[k] = 0;
        if (k > 0 && open_bits + next_bits + BLOCK_BITS < joint_bits) {
            keep[k - 1] = 1;
            memcpy(open, next, 256 * sizeof *open);
            open_bits = next_bits;
        } else {
            memcpy(open, joint, sizeof joint);
            open_bits = joint_bits;
        }
        start = end;
    }
}
