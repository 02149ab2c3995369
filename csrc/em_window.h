/* What the open window of a numeric stream counts: moments, quantile sketch and histogram of the finite
 * values; NaN and infinities by name, and predictions that have no value.
 *
 * Ownership: the three parts are borrowed and outlive the window; `hist` may be NULL. The counters are
 * the window's own.
 * Complexity: a push is that of the three parts.
 */
#ifndef EM_WINDOW_H
#define EM_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#include "em_hist.h"
#include "em_moments.h"
#include "em_sketch.h"

typedef struct {
    em_moments *moments;
    em_sketch *sketch;
    em_hist *hist; /* NULL where there is no profile */
    uint64_t nan, pinf, ninf;
    uint64_t missing;
} em_window;

/* Any doubles, in their order. */
void em_window_push(em_window *window, const double *x, size_t count);

#endif
