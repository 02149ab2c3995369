/* Numbers of JSON to doubles, correctly rounded (to nearest, ties to even): the double that Python's float() and a
 * correct strtod give, in no locale at all.
 *
 * Ownership: nothing is allocated, nothing kept; no globals but constant tables, no IO. Complexity: O(digits); a number of
 * more than 19 digits that lies next to the middle between two doubles costs an exact comparison of at most 800 digits.
 * Source: D. Lemire, "Number parsing at a gigabyte per second", Software: Practice and Experience 51 (2021); that no
 * product of 19 digits needs a second look: N. Mushtak, D. Lemire, "Fast number parsing without fallback" (2023).
 */
#ifndef EM_DECIMAL_H
#define EM_DECIMAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct em_decimal {
    double number;      /* the literal's value; infinite when it is beyond every double; an integer -0 is +0.0 */
    bool integer;       /* neither a fraction nor an exponent */
    bool negative;      /* began with a minus */
    bool fits;          /* an integer of at most 19 digits: its magnitude is exact */
    uint64_t magnitude;
    size_t digits;      /* of an integer */
} em_decimal;

/* Reads the longest number of JSON's grammar at `at`: -?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?
 * Returns where it ends, or NULL when there is none. */
const uint8_t *em_decimal_read(const uint8_t *at, const uint8_t *end, em_decimal *out);

#endif
