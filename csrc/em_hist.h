/* Counts over fixed edges: bin i holds edges[i-1] < x <= edges[i], the first and last are
open-ended.
 *
 * Ownership: em_hist_init copies the edges and allocates; em_hist_free releases.
 * Range: 1 <= edge_count <= EM_HIST_MAX; edges never decrease and are not NaN. Equal edges are
 * allowed (quantiles of tied data): the bin between them stays empty.  Bins: edge_count + 1.
 * Input: anything but NaN; -inf falls into the first bin, +inf into the last (unless an edge is
 * inf). Complexity: push O(log edge_count).
 * Memory: sizeof(em_hist) + 16 * edge_count + 8 bytes.
 */
#ifndef EM_HIST_H
#define EM_HIST_H

#include <stddef.h>
#include <stdint.h>

#define EM_HIST_MAX UINT32_C(0x100000)

typedef struct {
    double *edges;    /* edge_count */
    uint64_t *counts; /* edge_count + 1 */
    uint32_t edge_count;
} em_hist;

/* 0, or -1 when there is no memory. */
int em_hist_init(em_hist *hist, const double *edges, uint32_t edge_count);
void em_hist_free(em_hist *hist);
void em_hist_reset(em_hist *hist);
void em_hist_push(em_hist *hist, double x);
/* As em_hist_push of each. */
void em_hist_push_many(em_hist *hist, const double *x, size_t count);
size_t em_hist_memory(const em_hist *hist);

#endif
