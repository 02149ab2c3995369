/* Round trips of the column kernels over random and extreme items, for the sanitizers. Prints "done". */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "em_columns.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

static uint64_t state = 88172645463325252u;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

/* Items of many shapes: all bits, small, extreme. */
static int64_t next_item(int shape)
{
    static const int64_t extremes[] = {INT64_MIN, INT64_MAX, 0, -1, 1};
    switch (shape) {
    case 0: return (int64_t)next_random();
    case 1: return (int64_t)(next_random() % 1000) - 500;
    case 2: return extremes[next_random() % 5];
    default: return (int64_t)(4096 * (next_random() % 100));
    }
}

static double next_float(int shape)
{
    uint64_t bits = next_random();
    double value;
    memcpy(&value, &bits, sizeof value);
    switch (shape) {
    case 0: return value;
    case 1: return (double)(bits % 100000) / 100.0;
    case 2: return (double)(float)((double)(bits % 100000) / 7.0);
    default: return (bits % 2 ? -1.0 : 1.0) * (double)(bits % 3) / 3.0;
    }
}

static bool same(double a, double b)
{
    return (isnan(a) && isnan(b)) || memcmp(&a, &b, sizeof a) == 0;
}

int main(void)
{
    for (int turn = 0; turn < 4000; turn++) {
        const size_t n = (size_t)(next_random() % 70);
        const int shape = turn % 4;
        /* Allocated to the byte, so that the sanitizer sees the first byte too many. */
        int64_t *items = malloc(n * 8 + 1);
        int64_t *other = malloc(n * 8 + 1);
        int64_t *third = malloc(n * 8 + 1);
        double *floats = malloc(n * 8 + 1);
        double *back = malloc(n * 8 + 1);
        for (size_t k = 0; k < n; k++) {
            items[k] = next_item(shape);
            floats[k] = next_float(shape);
        }
        for (int order = 0; order <= EM_INTS_MAX_ORDER; order++) {
            em_ints plan;
            const int shift = turn % 3 == 0 ? (int)(next_random() % 64) : 0;
            const int align = turn % 5 == 0 ? (int)(next_random() % 64) : 0;
            if (em_ints_plan(items, n, order, align, shift, other, &plan)) {
                const size_t m = n - (size_t)plan.order;
                uint8_t *planes = malloc(m * (size_t)plan.width + 1);
                em_ints_pack(other, m, &plan, planes);
                em_ints_unpack(planes, n, &plan, third);
                CHECK(memcmp(items, third, n * 8) == 0);
                CHECK(em_model_planes(planes, m, (size_t)plan.width) >= 0);
                free(planes);
            }
        }
        for (int map = 0; map < 2; map++) {
            for (int item = 4; item <= 8; item += 4) {
                if (em_float_keys(floats, n, item, map, items)) {
                    em_float_values(items, n, item, map, back);
                    for (size_t k = 0; k < n; k++) {
                        CHECK(same(floats[k], back[k]));
                    }
                }
            }
        }
        const int digits = em_decimal_digits(floats, n, 8, turn % 9);
        CHECK(digits >= -1 && digits <= EM_DECIMAL_MAX_DIGITS);
        CHECK(em_binary_bits(floats, n) <= EM_BINARY_MAX_BITS);
        uint32_t *patches = malloc((n / 32) * 4 + 1);
        const double divisor = em_power_of_ten(digits < 0 ? 2 : digits);
        const int64_t patched =
            em_decimal_fit(floats, n, 8, divisor, 8, items, other, patches, n / 32);
        if (patched >= 0) {
            em_decimal_values(items, other, n, 8, divisor, back);
            for (int64_t k = 0; k < patched; k++) {
                back[patches[k]] = floats[patches[k]];
            }
            for (size_t k = 0; k < n; k++) {
                CHECK(same(floats[k], back[k]));
            }
        }
        free(patches);
        if (n >= 6) {
            const size_t rows = n / 3;
            double *joined = malloc(rows * 3 * 8);
            em_unit_split(floats, rows, 3, 8, items, other, back);
            CHECK(em_unit_join(back, items, other, rows, 3, 8, joined));
            for (size_t k = 0; k < rows * 3; k++) {
                CHECK(same(floats[k], joined[k]));
            }
            items[rows - 1] = 3;
            CHECK(!em_unit_join(back, items, other, rows, 3, 8, joined));
            items[rows - 1] = -1;
            CHECK(!em_unit_join(back, items, other, rows, 3, 8, joined));
            free(joined);
        }
        uint64_t ends[3] = {n / 3, n / 2, n};
        uint8_t keep[3];
        uint32_t scratch[512];
        uint8_t *bytes = malloc(n + 1);
        memset(bytes, turn, n);
        em_model_cuts(bytes, ends, 3, keep, scratch);
        CHECK(keep[2] == 0);
        free(bytes);
        free(items);
        free(other);
        free(third);
        free(floats);
        free(back);
    }
    puts("done");
    return 0;
}
