/* What a vector of confidences says, entry by entry.
 *
 * Ownership: a plain value, no allocation.  Memory: sizeof(em_confidence), whatever the vector's
 * length.  Complexity: O(1) an entry.  Input: any double.
 * Entropy: with S the sum of all p and W the sum of all p ln p, -sum (p / S) ln (p / S) = ln S - W / S.
 */
#ifndef EM_CONFIDENCE_H
#define EM_CONFIDENCE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    double first;    /* largest entry, -inf while there is none; NaN is not among them */
    double second;   /* second largest, equal to the first when two are; -inf below two */
    double sum;      /* of all entries */
    double weighted; /* of p ln p over the positive ones */
    uint64_t count;
    uint64_t position; /* of the first largest entry */
    bool nan;          /* there was one */
    bool negative;     /* there was one below 0 */
} em_confidence;

/* By how much the sum of a distribution may be off 1: room for entries rounded to 3 digits. */
#define EM_SUM_TOLERANCE 0.01

typedef struct {
    double confidence; /* largest entry, NaN when there is a NaN */
    double entropy;    /* em_confidence_entropy */
    double margin;     /* the largest entry less the second largest, less 0 of one alone; NaN when there is a NaN */
    uint64_t position; /* of the first largest entry */
    bool valid;        /* a distribution: no entry outside 0 to 1, the sum 1 within EM_SUM_TOLERANCE */
} em_brief;

void em_confidence_reset(em_confidence *c);
void em_confidence_push(em_confidence *c, double p);
/* Nats, 0 to ln(count); NaN when an entry was negative or not finite, or when all were 0. */
double em_confidence_entropy(const em_confidence *c);
/* All of it; there must have been an entry. */
em_brief em_confidence_brief(const em_confidence *c);

#endif
