#include "em_window.h"

#include <math.h>

static void count_special(em_window *window, double x)
{
    if (x != x)
        window->nan++;
    else if (x > 0.0)
        window->pinf++;
    else
        window->ninf++;
}

/* The parts side by side, value for value: their chains of operations do not wait for each other. */
void em_window_push(em_window *window, const double *x, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(x[i])) {
            count_special(window, x[i]);
            continue;
        }
        em_moments_push(window->moments, x[i]);
        em_sketch_push(window->sketch, x[i]);
        if (window->hist != NULL)
            em_hist_push(window->hist, x[i]);
    }
}
