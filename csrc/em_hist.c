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

/* Without a branch on what a value is: which bin comes next is as good as random. */
void em_hist_push(em_hist *hist, double x)
{
    const double *first = hist->edges; /* the first edge >= x is in [first, first + left] */
    uint32_t left = hist->edge_count;
    while (left > 1) {
        uint32_t half = left / 2;
        first += (first[half - 1] < x) * half;
        left -= half;
    }
    hist->counts[(size_t)(first - hist->edges) + (*first < x)]++;
}

size_t em_hist_memory(const em_hist *hist)
{
    size_t n = hist->edge_count;
    return sizeof *hist + n * sizeof *hist->edges + (n + 1) * sizeof *hist->counts;
}
