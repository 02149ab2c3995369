#include "em_pvalue.h"

#include <assert.h>
#include <math.h>

#include "em_gcd.h"

enum {
    ROW = 3162 + 2, /* points of the shorter side, 0 to sqrt(EM_PVALUE_CELLS), and one behind */
};

static const double pi = 3.14159265358979323846;

/* 1 <= h <= n. The alternating sum over reflections of C(2n, n - k h) / C(2n, n), innermost first,
 * each ratio as a product: no large number, and no difference of nearly equal ones. */
static double square(int64_t h, int64_t n)
{
    double p = 0.0;
    for (int64_t k = n / h; k >= 0; k--) {
        double ratio = 1.0;
        for (int64_t j = k * h; j < (k + 1) * h; j++)
            ratio *= (double)(n - j) / (double)(n + j + 1);
        p = ratio * (1.0 - p);
    }
    return 2.0 * p;
}

/* n <= m, m n <= EM_PVALUE_CELLS, 1 <= h <= lcm; step_m = n / g, step_n = m / g. On the diagonal d
 * the point j has i = d - j, and is inside where |d step_m - j (step_m + step_n)| < h: where low <= j
 * <= high, neither of which ever falls. share[n - j] is A(d - j, j), backwards, so that a diagonal
 * can replace the one before in the order of memory, which compilers turn into vectors. */
static double band(int64_t h, int64_t m, int64_t n, int64_t step_m, int64_t step_n)
{
    double share[ROW];
    assert(n + 2 <= ROW);
    for (int64_t r = 0; r < n; r++)
        share[r] = 1.0; /* outside, until high comes there; past the diagonal, where it has no weight */
    share[n] = 0.0;     /* (0, 0) is inside */
    share[n + 1] = 0.0; /* behind j = 0, without weight */
    int64_t both = step_m + step_n;
    for (int64_t d = 1; d <= m + n; d++) {
        int64_t low = d * step_m >= h ? (d * step_m - h) / both + 1 : 0;
        int64_t high = (d * step_m + h - 1) / both;
        low = low < d - m ? d - m : low;
        high = high > n ? n : high;
        high = high > d ? d : high;
        double each = 1.0 / (double)d, first = (double)high, i_first = (double)(d - high);
        double *left = share + (n - high);
        for (int32_t k = 0; k <= (int32_t)(high - low); k++) {
            double j = first - (double)k, i = i_first + (double)k;
            left[k] = (i * left[k] + j * left[k + 1]) * each;
        }
        if (low > 0)
            share[n - low + 1] = 1.0; /* outside, or without weight */
    }
    return share[0];
}

double em_kolmogorov(double x)
{
    /* The two forms are the same function; each converges fast on its side. */
    if (x < 1.0) {
        if (x < 0.05)
            return 1.0; /* and the other form would divide by 0 */
        double sum = 0.0;
        for (int k = 1; k < 8; k += 2)
            sum += exp(-(double)(k * k) * pi * pi / (8.0 * x * x));
        return 1.0 - sqrt(2.0 * pi) / x * sum;
    }
    double sum = 0.0;
    for (int k = 5; k >= 1; k--)
        sum = exp(-2.0 * k * k * x * x) - sum;
    return 2.0 * sum;
}

double em_pvalue(int64_t h, int64_t m, int64_t n)
{
    assert(h >= 0 && m >= 1 && n >= 1 && m <= INT32_MAX && n <= INT32_MAX);
    if (m < n) {
        int64_t longer = n;
        n = m;
        m = longer;
    }
    int64_t g = (int64_t)em_gcd((uint64_t)m, (uint64_t)n), lcm = m / g * n;
    if (h == 0 || h > lcm)
        return h == 0 ? 1.0 : 0.0;
    double p;
    if (n == 1)
        p = 2.0 * (double)(m - h + 1) / (double)(m + 1);
    else if (m == n && n <= EM_PVALUE_SQUARE)
        p = square(h, n);
    else if (m * n <= EM_PVALUE_CELLS)
        p = band(h, m, n, n / g, m / g);
    else
        p = em_kolmogorov((double)h / (double)lcm * sqrt((double)m / (double)(m + n) * (double)n));
    return p < 1.0 ? p : 1.0;
}
