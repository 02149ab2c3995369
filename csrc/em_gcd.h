/* The greatest common divisor.
 *
 * Units: none.  Range: any; gcd(a, 0) = a.  Complexity: O(log min(a, b)), Euclid's algorithm.
 */
#ifndef EM_GCD_H
#define EM_GCD_H

#include <stdint.h>

static inline uint64_t em_gcd(uint64_t a, uint64_t b)
{
    while (b != 0) {
        uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

#endif
