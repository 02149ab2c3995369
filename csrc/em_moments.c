#include "em_moments.h"

#include <assert.h>
#include <math.h>

void em_moments_reset(em_moments *m)
{
    m->count = 0;
    m->mean = 0.0;
    m->m2 = 0.0;
    m->min = INFINITY;
    m->max = -INFINITY;
}

static double clamp(const em_moments *m, double mean)
{
    return mean < m->min ? m->min : mean > m->max ? m->max : mean;
}

void em_moments_push(em_moments *m, double x)
{
    assert(isfinite(x));
    x += 0.0; /* -0.0 becomes 0.0, so that merges in any order give the same bits */
    m->count++;
    m->min = x < m->min ? x : m->min;
    m->max = x > m->max ? x : m->max;
    if (m->count == 1) {
        m->mean = x;
        return;
    }
    double n = (double)m->count;
    double delta = x - m->mean;
    if (isfinite(delta)) {
        m->mean = clamp(m, m->mean + delta / n);
        m->m2 += delta * (x - m->mean);
    } else { /* farther apart than the largest double: the mean still exists, M2 does not */
        m->mean = clamp(m, m->mean + (x / n - m->mean / n));
        m->m2 = INFINITY;
    }
}

void em_moments_merge(em_moments *m, const em_moments *other)
{
    if (other->count == 0)
        return;
    if (m->count == 0) {
        *m = *other;
        return;
    }
    double n_a = (double)m->count;
    double n_b = (double)other->count;
    double share = n_b / (n_a + n_b);
    double delta = other->mean - m->mean;
    double m2 = m->m2 + other->m2;
    m->count += other->count;
    m->min = other->min < m->min ? other->min : m->min;
    m->max = other->max > m->max ? other->max : m->max;
    if (isfinite(delta)) {
        m->mean = clamp(m, m->mean + delta * share);
        m->m2 = m2 + delta * (n_a * share) * delta;
    } else {
        m->mean = clamp(m, m->mean * (1.0 - share) + other->mean * share);
        m->m2 = INFINITY;
    }
}
