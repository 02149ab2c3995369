#include "em_hist.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int em_hist_init(em_hist *hist, const double *edges, uint32_t edge_count)
{
    assert(edge_count >= 1 && edge_count <= EM_HIST_MAX);
    hist->edge_count = edge_count;
    hist->edges = malloc((size_t)edge_count * sizeof *hist->edges);
    hist->counts = calloc((size_t)edge_count + 1, sizeof *hist->counts);
    if (hist->edges == NULL || hist->counts == NULL) {
        em_hist_free(hist);
        return -1;
    }
    memcpy(hist->edges, edges, (size_t)edge_count * sizeof *edges);
    return 0;
}

void em_hist_free(em_hist *hist)
{
    free(hist->edges);
    free(hist->counts);
    hist->edges = NULL;
    hist->counts = NULL;
}

void em_hist_reset(em_hist *hist)
{
    memset(hist->counts, 0, ((size_t)hist->edge_count + 1) * sizeof *hist->counts);
}

enum { GROUP = 16 }; /* values whose searches overlap */

/* How many edges are < each x. Without a branch on what a value is, since which bin comes next is as good as random; and
 * step by step for all of a group, so that no search waits for another. */
static inline void find_bins(const em_hist *hist, const double *x, size_t count, uint32_t *bins)
{
    const double *edges = hist->edges;
    for (size_t i = 0; i < count; i++)
        bins[i] = 0;
    uint32_t left = hist->edge_count; /* the first edge >= x is in [bin, bin + left] */
    while (left > 1) {
        uint32_t half = left / 2;
        for (size_t i = 0; i < count; i++)
            bins[i] += (edges[bins[i] + half - 1] < x[i]) * half;
        left -= half;
    }
    for (size_t i = 0; i < count; i++)
        bins[i] += edges[bins[i]] < x[i];
}

void em_hist_push_many(em_hist *hist, const double *x, size_t count)
{
    uint32_t bins[GROUP];
    for (; count >= GROUP; count -= GROUP, x += GROUP) {
        find_bins(hist, x, GROUP, bins);
        for (size_t i = 0; i < GROUP; i++)
            hist->counts[bins[i]]++;
    }
    find_bins(hist, x, count, bins);
    for (size_t i = 0; i < count; i++)
        hist->counts[bins[i]]++;
}

void em_hist_push(em_hist *hist, double x)
{
    em_hist_push_many(hist, &x, 1);
}

size_t em_hist_memory(const em_hist *hist)
{
    size_t n = hist->edge_count;
    return sizeof *hist + n * sizeof *hist->edges + (n + 1) * sizeof *hist->counts;
}
