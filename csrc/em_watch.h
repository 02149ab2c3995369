/* Who watches the law of a numeric stream, value by value: the sliding KS and the e-SR. What they see is told to the
 * caller, who keeps the latch and decides: nearly always there is nothing to tell.
 *
 * Order. Each value goes to the KS, then e-SR, and where both see something the KS is named. em_watch_push_until
 * gives exactly what one push after the other gives: it never takes more values at once than it can tell apart: the KS
 * says how many cannot reach its threshold (em_ks_quiet), e-SR stops by itself.
 *
 * Ownership: the parts are borrowed and outlive the watch.
 * Complexity: that of the parts.
 */
#ifndef EM_WATCH_H
#define EM_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "em_esr.h"
#include "em_ks.h"

/* Who saw something; EM_WATCH_TICK beside it when `until` ran out. */
enum {
    EM_WATCH_KS = 1,
    EM_WATCH_ESR = 2,
    EM_WATCH_TICK = 8,
};

typedef struct {
    em_ks *ks;
    em_esr *esr;      /* NULL while it is off */
    uint64_t pushed;  /* numbers */
    uint64_t until;   /* pushes to the next tick, >= 1 */
    uint64_t esr_due; /* what e-SR sees before so many numbers is not told */
    bool latched;     /* only ticks are told */
} em_watch;

/* Takes values until there is something to tell: how many were taken; *told says what the last of
 * them made, 0 for nothing. x: not NaN. */
size_t em_watch_push_until(em_watch *watch, const double *x, size_t count, unsigned *told);

#endif
