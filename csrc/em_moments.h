/* Count, mean, M2 (sum of squared deviations from the mean), minimum and maximum of finite doubles.
 *
 * Ownership: a plain value, no allocation; copy it as you like.  Memory: sizeof(em_moments).
 * Input: finite only; the caller counts NaN and infinities.  -0.0 is taken as 0.0.
 * Complexity: O(1) for every call.
 * Method: Welford's update [1], Chan, Golub and LeVeque's merge [2]. Relative error of the mean and
 * of M2 grows like count * 2^-53 in the worst case and does not depend on mean / deviation.
 * Overflow: the mean stays finite and between min and max for all finite input; M2 becomes +inf,
 * never NaN, when it exceeds the largest double.
 *
 * [1] B. P. Welford, Technometrics 4 (1962) 419-420.
 * [2] T. F. Chan, G. H. Golub, R. J. LeVeque, Stanford STAN-CS-79-773 (1979).
 */
#ifndef EM_MOMENTS_H
#define EM_MOMENTS_H

#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint64_t count;
    double mean; /* 0 while count is 0 */
    double m2;   /* >= 0 */
    double min;  /* +inf while count is 0 */
    double max;  /* -inf while count is 0 */
} em_moments;

void em_moments_reset(em_moments *m);
void em_moments_push(em_moments *m, double x);
/* As em_moments_push of each. */
void em_moments_push_many(em_moments *m, const double *x, size_t count);
/* Adds all of `other`, which may be the same object. */
void em_moments_merge(em_moments *m, const em_moments *other);

#endif
