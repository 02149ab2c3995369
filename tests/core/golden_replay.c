/* Replays through the kernels alone what scipy said: where there is no Python, as for another
 * processor under emulation. Input, numbers apart by white space:
 *
 *     window m n h lcm p     then m values of the sample, n of the window
 *     stream m length n threshold alarms     then the sample, the stream, the places of the alarms
 *
 * h, lcm and every alarm must be equal, p within 1e-9 of its value. Prints what it replayed and a
 * checksum of results that are the same bits on every processor: p, moments, state of the e-SR. */
#include "em_crc32c.h"
#include "em_esr.h"
#include "em_ks.h"
#include "em_moments.h"
#include "em_pvalue.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CAPACITY = 1000 };

static unsigned windows, streams, alarms;
static uint32_t checksum;

#define CHECK(truth)                                                                               \
    do {                                                                                           \
        if (!(truth)) {                                                                            \
            fprintf(stderr, "%s:%d: window %u, stream %u: %s\n", __FILE__, __LINE__, windows,      \
                    streams, #truth);                                                              \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static uint32_t read_size(uint32_t most)
{
    uint32_t size;
    CHECK(scanf("%" SCNu32, &size) == 1 && size <= most);
    return size;
}

static int64_t read_integer(void)
{
    int64_t x;
    CHECK(scanf("%" SCNd64, &x) == 1);
    return x;
}

static double read_double(void)
{
    double x;
    CHECK(scanf("%lf", &x) == 1);
    return x;
}

static void read_doubles(double *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        values[i] = read_double();
}

static void add_bits(const void *data, size_t size)
{
    checksum = em_crc32c(checksum, data, size);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Sorts the sample, leaves its distinct values and how many of each; returns how many they are. */
static uint32_t distinct(double *values, uint32_t m, uint32_t *counts)
{
    uint32_t u = 0;
    for (uint32_t i = 0; i < m; i++)
        values[i] += 0.0; /* no -0.0 */
    qsort(values, m, sizeof *values, by_value);
    for (uint32_t i = 0; i < m; i++) {
        if (u > 0 && values[u - 1] == values[i]) {
            counts[u - 1]++;
            continue;
        }
        values[u] = values[i];
        counts[u++] = 1;
    }
    return u;
}

static void replay_window(void)
{
    static double sample[CAPACITY], window[CAPACITY];
    static uint32_t counts[CAPACITY];
    uint32_t m = read_size(CAPACITY), n = read_size(CAPACITY);
    int64_t h = read_integer(), lcm = read_integer();
    double p = read_double();
    read_doubles(sample, m);
    read_doubles(window, n);

    em_reference reference;
    em_ks ks;
    CHECK(em_reference_init(&reference, sample, counts, distinct(sample, m, counts)) == 0);
    CHECK(em_ks_init(&ks, &reference, n, 1) == 0);
    for (uint32_t i = 0; i < n; i++)
        em_ks_push(&ks, window[i]);
    CHECK(em_ks_h(&ks) == h);
    CHECK(ks.lcm == lcm);
    em_ks_peak peak = em_ks_locate(&ks); /* which shares no code with the scan */
    CHECK(peak.h == h && peak.lcm == lcm);
    em_ks_free(&ks);
    em_reference_free(&reference);

    double found = em_pvalue(h, m, n);
    CHECK(fabs(found - p) <= 1e-9 * p);
    add_bits(&found, sizeof found);
    windows++;
}

/* What needs no logarithm is the same to the last bit wherever arithmetic is IEEE. */
static void add_bits_of_stream(const double *reference, uint32_t u, const double *stream,
                               uint32_t length)
{
    double cuts[EM_ESR_CUTS];
    em_esr_bet bets[EM_ESR_BETS];
    uint32_t cut_count = 0, count = 0;
    for (uint32_t i = 0; i < u && cut_count < EM_ESR_CUTS; i++)
        if (isfinite(reference[i]))
            cuts[cut_count++] = reference[i];
    for (uint32_t i = 0; i < 8 * cut_count; i++)
        bets[count++] = (em_esr_bet){.p = (double)(1 + i) / 150.0,
                                     .t = (double)(40 + i) / 180.0,
                                     .cut = i / 8,
                                     .above = i % 2 != 0};
    if (count > 0) {
        static uint8_t state[EM_ESR_HISTORY];
        em_esr_table table;
        em_esr esr;
        CHECK(em_esr_table_init(&table, cuts, cut_count, bets, count) == 0);
        CHECK(em_esr_init(&esr, &table, 1000.0) == 0);
        for (uint32_t i = 0; i < length; i++) {
            bool crossed = em_esr_push(&esr, stream[i]);
            add_bits(&crossed, sizeof crossed);
        }
        double mean = em_esr_mean(&esr);
        add_bits(&mean, sizeof mean);
        CHECK(em_esr_encoded_size(&esr) <= sizeof state);
        em_esr_encode(&esr, state);
        add_bits(state, em_esr_encoded_size(&esr));
        em_esr_free(&esr);
        em_esr_table_free(&table);
    }
    em_moments moments;
    em_moments_reset(&moments);
    for (uint32_t i = 0; i < length; i++)
        if (isfinite(stream[i]))
            em_moments_push(&moments, stream[i]);
    add_bits(&moments.mean, sizeof moments.mean);
    add_bits(&moments.m2, sizeof moments.m2);
}

static void replay_stream(void)
{
    static double sample[CAPACITY], stream[CAPACITY];
    static uint32_t counts[CAPACITY];
    static bool wanted[CAPACITY];
    uint32_t m = read_size(CAPACITY), length = read_size(CAPACITY), n = read_size(CAPACITY);
    int64_t threshold = read_integer();
    uint32_t count = read_size(length);
    read_doubles(sample, m);
    read_doubles(stream, length);
    memset(wanted, 0, sizeof wanted);
    for (uint32_t i = 0; i < count; i++)
        wanted[read_size(CAPACITY - 1)] = true;

    uint32_t u = distinct(sample, m, counts);
    em_reference reference;
    em_ks one_by_one, many;
    CHECK(em_reference_init(&reference, sample, counts, u) == 0);
    CHECK(em_ks_init(&one_by_one, &reference, n, threshold) == 0);
    CHECK(em_ks_init(&many, &reference, n, threshold) == 0);
    for (uint32_t i = 0; i < length; i++)
        CHECK(em_ks_push(&one_by_one, stream[i]) == wanted[i]);
    for (uint32_t done = 0; done < length;) {
        bool crossed;
        size_t pushed = em_ks_push_until(&many, stream + done, length - done, &crossed);
        uint32_t end = done + (uint32_t)pushed;
        for (uint32_t i = done; i < end; i++)
            CHECK(wanted[i] == (crossed && i + 1 == end));
        done = end;
    }
    em_ks_free(&one_by_one);
    em_ks_free(&many);
    em_reference_free(&reference);

    add_bits_of_stream(sample, u, stream, length);
    alarms += count;
    streams++;
}

int main(void)
{
    char what[8];
    while (scanf("%7s", what) == 1) {
        if (strcmp(what, "window") == 0)
            replay_window();
        else if (strcmp(what, "stream") == 0)
            replay_stream();
        else
            CHECK(!"window or stream");
    }
    printf("%u windows, %u streams, %u alarms, bits %08" PRIx32 "\n", windows, streams, alarms,
           checksum);
    return 0;
}
