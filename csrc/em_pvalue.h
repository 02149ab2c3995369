/* The p-value of the two-sample Kolmogorov-Smirnov statistic, two-sided: the chance that two
 * samples of m and n from one continuous law have at least the h that was found (for a law with
 * ties the chance is smaller). h as in em_ks.h: D * lcm(m, n).
 *
 * All orders of the m + n values are equally likely; an order is a path of steps from (0, 0) to
 * (m, n), and it counts when |i w_m - j w_n| >= h at any of its points.
 *
 * m = n <= EM_PVALUE_SQUARE: the reflection principle as a nested product, O(n).
 *     Gnedenko, Korolyuk, Dokl. Akad. Nauk SSSR 80 (1951).
 * m or n is 1: all ranks of the one value are equally likely, O(1).
 * m n <= EM_PVALUE_CELLS: the share A(i, j) of the paths to (i, j) that have been outside; 1 where
 *     (i, j) is outside, else (i A(i-1, j) + j A(i, j-1)) / (i + j), which adds only what is
 *     positive, so that a small p-value is as accurate as a large one. O(m n), along the diagonals
 *     of equal i + j, which are vectors.  Viehmann, arXiv 2102.08037 (2021).
 * Beyond: Kolmogorov's limit law at D sqrt(m n / (m + n)). Never below the exact value by more than
 *     0.1 %, hence on the safe side; above it by a few percent around p = 0.01, and by more the
 *     smaller p and min(m, n) are. Stephens' correction would fall below.
 *
 * Accuracy of all but the last: 1e-11 of the value down to 1e-290; what is smaller may be 0.
 * No allocation; the third takes 25 KB of stack.
 */
#ifndef EM_PVALUE_H
#define EM_PVALUE_H

#include <stdint.h>

#define EM_PVALUE_CELLS INT64_C(10000000)
#define EM_PVALUE_SQUARE INT64_C(1000000)

/* h >= 0; m, n >= 1, at most INT32_MAX.  In [0, 1]; 1 for h = 0, 0 for h > lcm(m, n). */
double em_pvalue(int64_t h, int64_t m, int64_t n);
/* Kolmogorov's limit law: P(K >= x), in [0, 1]. x >= 0. */
double em_kolmogorov(double x);

#endif
