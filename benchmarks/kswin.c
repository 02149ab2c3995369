/* KSWIN, as river has it, fast enough to be tuned by simulation: river's takes 130 to 300 us a row.
 *
 * After each row, the last `stat` values of the window against as many drawn without replacement
 * from the older ones; alarm when the largest difference between their counts reaches `threshold`.
 * For equal sizes that is the same order as by p-value. C. Raab, M. Heusinger, F.-M. Schleif,
 * "Reactive soft prototype computing for concept drift streams", Neurocomputing 416, 2020.
 *
 * Plain C11; built by _peers.py. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct {
    double value;
    uint32_t place; /* in the ring */
} entry;

static uint32_t below(uint64_t *state, uint32_t limit)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(((*state >> 32) * limit) >> 32);
}

static void insert(entry *sorted, uint32_t filled, entry fresh)
{
    uint32_t i = filled;
    for (; i > 0 && sorted[i - 1].value > fresh.value; i--)
        sorted[i] = sorted[i - 1];
    sorted[i] = fresh;
}

static void discard(entry *sorted, uint32_t filled, uint32_t place)
{
    uint32_t i = 0;
    while (sorted[i].place != place)
        i++;
    memmove(sorted + i, sorted + i + 1, (filled - i - 1) * sizeof *sorted);
}

/* The first row >= start at which the difference reaches threshold, or -1; -2 without memory.
 * *largest: the largest difference at the rows from start to there. 2 * stat <= window. */
EXPORT int64_t kswin_first(const double *x, size_t count, uint32_t window, uint32_t stat,
                           size_t start, uint32_t threshold, uint64_t seed, uint32_t *largest)
{
    uint32_t older = window - stat;
    entry *sorted = malloc(window * sizeof *sorted);
    uint32_t *draw = malloc(older * sizeof *draw);
    int8_t *weight = malloc(window);
    uint64_t state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    int64_t found = sorted != NULL && draw != NULL && weight != NULL ? -1 : -2;
    *largest = 0;
    for (uint32_t i = 0; found == -1 && i < older; i++)
        draw[i] = i;
    for (size_t row = 0; found == -1 && row < count; row++) {
        uint32_t place = (uint32_t)(row % window);
        uint32_t filled = row < window ? (uint32_t)row : window - 1;
        if (row >= window)
            discard(sorted, window, place);
        insert(sorted, filled, (entry){x[row], place});
        if (row + 1 < window || row < start)
            continue;
        memset(weight, 0, window);
        for (uint32_t i = 0; i < stat; i++)
            weight[(place + window - i) % window] = 1;
        for (uint32_t i = 0; i < stat; i++) {
            uint32_t j = i + below(&state, older - i), age = draw[j];
            draw[j] = draw[i];
            draw[i] = age;
            weight[(place + window - stat - age) % window] = -1;
        }
        int32_t sum = 0;
        uint32_t top = 0;
        for (uint32_t i = 0; i < window; i++) {
            sum += weight[sorted[i].place];
            uint32_t size = (uint32_t)(sum < 0 ? -sum : sum);
            if (size > top && (i + 1 == window || sorted[i + 1].value > sorted[i].value))
                top = size;
        }
        *largest = top > *largest ? top : *largest;
        if (top >= threshold)
            found = (int64_t)row;
    }
    free(sorted);
    free(draw);
    free(weight);
    return found;
}
