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

/* Finite numbers from the first on. */
static size_t finite_until(const double *x, size_t count)
{
    size_t i = 0;
    while (i < count && isfinite(x[i]))
        i++;
    return i;
}

void em_window_push(em_window *window, const double *x, size_t count)
{
    while (count > 0) {
        size_t n = finite_until(x, count);
        if (n == 0) {
            count_special(window, *x);
            n = 1;
        } else {
            em_moments_push_many(window->moments, x, n);
            em_sketch_push_many(window->sketch, x, n);
            if (window->hist != NULL)
                em_hist_push_many(window->hist, x, n);
        }
        x += n;
        count -= n;
    }
}
