#include "em_watch.h"

#include <assert.h>

static size_t least(size_t a, uint64_t b)
{
    return b < a ? (size_t)b : a;
}

size_t em_watch_push_until(em_watch *watch, const double *x, size_t count, unsigned *told)
{
    size_t done = 0;
    *told = 0;
    while (done < count && *told == 0) {
        const double *from = x + done;
        size_t n = least(least(count - done, watch->until), em_ks_quiet(watch->ks));
        bool crossed = false, reached = false;
        if (watch->esr != NULL)
            n = em_esr_push_until(watch->esr, from, n, &crossed);
        size_t slid = em_ks_push_until(watch->ks, from, n, &reached);
        assert(slid == n);
        (void)slid;
        done += n;
        watch->pushed += n;
        watch->until -= n;
        unsigned by = reached ? EM_WATCH_KS : crossed ? EM_WATCH_ESR : 0;
        if (watch->until == 0)
            *told = by | EM_WATCH_TICK;
        else if (!watch->latched && !(by == EM_WATCH_ESR && watch->pushed < watch->esr_due))
            *told = by;
    }
    return done;
}
