#include "em_watch.h"

#include <assert.h>

void em_answers_catch_up(em_answers *answers, uint64_t number)
{
    if (answers->fed >= number)
        return;
    em_esr_repeat(answers->esr, 0.0, number - answers->fed);
    answers->fed = number;
}

bool em_answers_yes(em_answers *answers, uint64_t number)
{
    assert(number > answers->fed);
    em_answers_catch_up(answers, number - 1);
    answers->fed = number;
    answers->yes++;
    return em_esr_push(answers->esr, 1.0);
}

/* Values in range from the first on. */
static size_t inside(const em_watch *watch, const double *x, size_t count)
{
    size_t i = 0;
    while (i < count && x[i] >= watch->low && x[i] <= watch->high)
        i++;
    return i;
}

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
        size_t in_range = watch->outside != NULL ? inside(watch, from, n) : n;
        bool out = in_range < n, crossed = false, reached = false;
        n = out ? in_range + 1 : n;
        if (watch->esr != NULL) {
            size_t taken = em_esr_push_until(watch->esr, from, n, &crossed);
            out = out && taken == n;
            n = taken;
        }
        size_t slid = em_ks_push_until(watch->ks, from, n, &reached);
        assert(slid == n);
        (void)slid;
        done += n;
        watch->pushed += n;
        watch->seen += n;
        watch->until -= n;
        unsigned by = reached ? EM_WATCH_KS : crossed ? EM_WATCH_ESR : 0;
        if (out && em_answers_yes(watch->outside, watch->pushed) && by == 0)
            by = EM_WATCH_RANGE;
        if (watch->until == 0)
            *told = by | EM_WATCH_TICK;
        else if (!watch->latched && !(by == EM_WATCH_ESR && watch->pushed < watch->esr_due))
            *told = by;
    }
    return done;
}

unsigned em_watch_missing(em_watch *watch)
{
    watch->seen++;
    bool often = watch->missing != NULL && em_answers_yes(watch->missing, watch->seen);
    if (!watch->latched)
        return often ? EM_WATCH_MISSING : 0;
    return --watch->until == 0 ? EM_WATCH_TICK : 0;
}
