#include "em_quality.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <string.h>

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

void em_rates_init(em_rates *rates)
{
    memset(rates, 0, sizeof *rates);
    rates->until = UINT64_MAX;
}

void em_quality_init(em_quality *quality)
{
    memset(quality, 0, sizeof *quality);
    em_rates_init(&quality->rates);
    quality->low = -DBL_MAX;
    quality->high = DBL_MAX;
    quality->last = (double)NAN;
    quality->cell = EM_CELL_NONE;
}

void em_rows_init(em_rows *rows)
{
    memset(rows, 0, sizeof *rows);
    em_rates_init(&rows->rates);
    rows->late_s = rows->early_s = rows->disorder_s = (double)INFINITY;
    rows->last_ts = (double)NAN;
}

/* --- questions ------------------------------------------------------------------------------- */

static unsigned pass(em_rates *rates, uint64_t count)
{
    rates->seen += count;
    rates->until -= count;
    return rates->until == 0 ? EM_QUALITY_TICK : 0;
}

/* Whether a yes to this question is to be told. */
static bool is_told(em_rates *rates, unsigned question)
{
    unsigned bit = 1u << question;
    em_answers *answers = rates->answers[question];
    rates->yes[question]++;
    if (rates->learning) {
        rates->learnt[question]++;
        return false;
    }
    if ((rates->asked & bit) == 0)
        return false;
    if (answers == NULL)
        return true;
    if (rates->muted & bit) {
        answers->yes++;
        return false;
    }
    return em_answers_yes(answers, rates->seen);
}

unsigned em_rates_answer(em_rates *rates, unsigned yes)
{
    unsigned told = pass(rates, 1);
    for (unsigned question = 0; yes >> question != 0; question++)
        if ((yes >> question & 1) && is_told(rates, question))
            told |= 1u << question;
    return told;
}

/* --- values ---------------------------------------------------------------------------------- */

/* Whether all are in range and none is the one before. */
static bool all_plain(const em_quality *quality, const double *x, size_t count)
{
    double low = quality->low, high = quality->high;
    unsigned odd = !(x[0] >= low) | !(x[0] <= high) | (x[0] == quality->last);
    for (size_t i = 1; i < count; i++)
        odd |= !(x[i] >= low) | !(x[i] <= high) | (x[i] == x[i - 1]);
    return odd == 0;
}

/* Follows the run through values until one is out of range or ends it in a way that is told: how many. Without branches
 * on whether a value repeats, which nobody can predict. */
static size_t follow(em_quality *quality, const double *x, size_t count, double low, double high,
                     unsigned *told)
{
    double last = quality->last;
    uint64_t run = quality->run, longest = quality->longest, limit = quality->run_limit, ties = 0;
    bool stuck = quality->stuck;
    size_t i = 0;
    for (; i < count && *told == 0 && x[i] >= low && x[i] <= high; i++) {
        uint64_t same = x[i] == last;
        run = (run & (0 - same)) + 1;
        ties += same;
        longest = run > longest ? run : longest;
        last = x[i];
        if (stuck ? !same : run == limit)
            *told = stuck ? EM_QUALITY_MOVED : EM_QUALITY_RUN;
    }
    quality->last = last;
    quality->run = run;
    quality->longest = longest;
    if (quality->counting) {
        quality->ties += ties;
        quality->numbers += i;
    }
    return i;
}

/* One beyond the range: the run goes on all the same. */
static unsigned push_outside(em_quality *quality, double x)
{
    unsigned told = 0;
    follow(quality, &x, 1, (double)-INFINITY, (double)INFINITY, &told);
    return told | em_rates_answer(&quality->rates, 1u << (isinf(x) ? EM_ASK_INFINITE : EM_ASK_OUTSIDE));
}

size_t em_quality_push_until(em_quality *quality, const double *x, size_t count, unsigned *told)
{
    size_t done = 0;
    *told = 0;
    if (count != 0 && !quality->stuck && quality->rates.until >= count &&
        all_plain(quality, x, count)) {
        quality->last = x[count - 1];
        quality->run = 1;
        quality->longest = quality->longest > 1 ? quality->longest : 1;
        quality->numbers += quality->counting ? count : 0;
        *told = pass(&quality->rates, count);
        return count;
    }
    while (done < count && *told == 0) {
        uint64_t until = quality->rates.until;
        size_t most = until < count - done ? (size_t)until : count - done;
        size_t taken = follow(quality, x + done, most, quality->low, quality->high, told);
        done += taken;
        if (taken != 0)
            *told |= pass(&quality->rates, taken);
        if (*told == 0 && taken < most)
            *told = push_outside(quality, x[done++]);
    }
    return done;
}

bool em_quality_compare(em_quality *quality, const double *cells, size_t count, uint8_t *same)
{
    uint64_t before = quality->cell;
    unsigned any = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t bits;
        memcpy(&bits, &cells[i], sizeof bits);
        same[i] &= (uint8_t)(bits == before);
        any |= same[i];
        before = bits;
    }
    quality->cell = before;
    return any != 0;
}

/* --- rows ------------------------------------------------------------------------------------ */

unsigned em_rows_time(em_rows *rows, double ts, double wall_s)
{
    unsigned yes = 0;
    if (wall_s - ts > rows->late_s)
        yes |= 1u << EM_ASK_LATE;
    if (ts - wall_s > rows->early_s)
        yes |= 1u << EM_ASK_EARLY;
    if (rows->last_ts - ts > rows->disorder_s)
        yes |= 1u << EM_ASK_ORDER;
    rows->last_ts = ts;
    return yes;
}

size_t em_rows_push_until(em_rows *rows, const uint8_t *yes, size_t count, unsigned *told)
{
    size_t done = 0;
    *told = 0;
    while (done < count && *told == 0) {
        size_t plain = 0, most = count - done;
        if (rows->rates.until < most)
            most = (size_t)rows->rates.until;
        while (plain < most && yes[done + plain] == 0)
            plain++;
        if (plain != 0)
            *told = pass(&rows->rates, plain);
        done += plain;
        if (*told == 0 && done < count)
            *told = em_rates_answer(&rows->rates, yes[done++]);
    }
    return done;
}
