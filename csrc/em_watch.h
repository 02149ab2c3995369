/* Who watches a numeric stream, value by value: the sliding KS, the e-SR, and how often values are out of
 * range or missing. What they see is told to the caller, who keeps the latch and decides: nearly
 * always there is nothing to tell.
 *
 * Answers. Values out of range, and missing ones, are answers "yes" of an e-SR over yes and no, numbered
 * from 1. Only a yes is told; the no before it are made up for in one go, just before it.
 *
 * Order. Each value goes to the KS, then e-SR, then range, and of several that see something the first in
 * this order is named. em_watch_push_until gives exactly what one push after the other gives: it never
 * takes more values at once than it can tell apart: the KS says how many cannot reach its threshold
 * (em_ks_quiet), e-SR stops by itself, and the first value out of range ends a stretch.
 *
 * Ownership: the parts are borrowed and outlive the watch.
 * Complexity: that of the parts; a yes also that of the answers since the last, until their R has settled.
 */
#ifndef EM_WATCH_H
#define EM_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "em_esr.h"
#include "em_ks.h"

typedef struct {
    em_esr *esr;  /* 1.0 is yes, 0.0 no */
    uint64_t fed; /* the number of the last answer that `esr` has */
    uint64_t yes; /* told since the caller set this to 0 */
} em_answers;

/* Answer `number` is yes, those since the last that was told were no; number > fed. True: too often. */
bool em_answers_yes(em_answers *answers, uint64_t number);
/* All answers up to `number` that were not told were no. */
void em_answers_catch_up(em_answers *answers, uint64_t number);

/* Who saw something; EM_WATCH_TICK beside it when `until` ran out. */
enum {
    EM_WATCH_KS = 1,
    EM_WATCH_ESR = 2,
    EM_WATCH_RANGE = 3,
    EM_WATCH_MISSING = 4,
    EM_WATCH_TICK = 8,
};

typedef struct {
    em_ks *ks;
    em_esr *esr;          /* NULL while it is off */
    em_answers *outside;  /* NULL: nobody watches the range */
    em_answers *missing;  /* NULL: nobody watches */
    double low, high;     /* what lies beyond is out of range */
    uint64_t pushed;      /* numbers */
    uint64_t seen;        /* numbers and missing values */
    uint64_t until;       /* pushes to the next tick, >= 1; latched, missing values count too */
    uint64_t esr_due;     /* what e-SR sees before so many numbers is not told */
    bool latched;         /* only ticks are told */
} em_watch;

/* Takes values until there is something to tell: how many were taken; *told says what the last of
 * them made, 0 for nothing. x: not NaN. */
size_t em_watch_push_until(em_watch *watch, const double *x, size_t count, unsigned *told);
/* One prediction had no value: what is to be told of it, nearly always 0. */
unsigned em_watch_missing(em_watch *watch);

#endif
