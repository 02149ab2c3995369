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

/* What a value waits for is the mean before it, so the share 1/n is made beside that and not behind it. */
void em_moments_push_many(em_moments *moments, const double *x, size_t count)
{
    em_moments now = *moments, *m = &now;
    for (size_t i = 0; i < count; i++) {
        assert(isfinite(x[i]));
        double value = x[i] + 0.0; /* -0.0 becomes 0.0, so that merges in any order give the same bits */
        m->count++;
        m->min = value < m->min ? value : m->min;
        m->max = value > m->max ? value : m->max;
        if (m->count == 1) {
            m->mean = value;
            continue;
        }
        double share = 1.0 / (double)m->count;
        double delta = value - m->mean;
        if (isfinite(delta)) {
            m->mean = clamp(m, m->mean + delta * share);
            m->m2 += delta * (value - m->mean);
        } else { /* farther apart than the largest double: the mean still exists, M2 does not */
            m->mean = clamp(m, m->mean + (value * share - m->mean * share));
            m->m2 = INFINITY;
        }
    }
    *moments = now;
}

void em_moments_push(em_moments *m, double x)
{
    em_moments_push_many(m, &x, 1);
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
