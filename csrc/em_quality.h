/* What may be wrong with the values of a stream and with the rows of a model, counted value by value: questions of yes
 * and no, whose rates e-SR detectors judge, runs of one value, and times that cannot be.
 *
 * Answers. Each question is an e-SR over yes and no, its answers numbered from 1. Only a yes is told; the no before it
 * are made up for in one go, just before it.
 *
 * Questions. All questions of an em_rates are answered by each value (or row): at most a few with yes, nearly always
 * none. A question nobody has made an em_answers for is told to the caller at its first yes, who makes one and answers it: a
 * stream where all is well has none. While `learning`, a yes is only counted.
 *
 * Told: a bit each question that was answered with yes too often, or for the first time; EM_QUALITY_TICK when `until`
 * ran out, EM_QUALITY_RUN when a run of one value got as long as `run_limit`, EM_QUALITY_MOVED when a run that
 * is `stuck` ended. Nearly always 0.
 *
 * Ownership: answers are borrowed and outlive the rates. Nothing allocates.
 * Complexity: a value in range that is not the one before costs three comparisons, which vectors do; a yes what its e-SR
 * does.
 */
#ifndef EM_QUALITY_H
#define EM_QUALITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "em_esr.h"

typedef struct {
    em_esr *esr;  /* 1.0 is yes, 0.0 no */
    uint64_t fed; /* the number of the last answer that `esr` has */
    uint64_t yes; /* told since the caller set this to 0 */
} em_answers;

/* Answer `number` is yes, those since the last that was told were no; number > fed. True: too often. */
bool em_answers_yes(em_answers *answers, uint64_t number);
/* All answers up to `number` that were not told were no. */
void em_answers_catch_up(em_answers *answers, uint64_t number);

enum {
    /* of a value */
    EM_ASK_MISSING = 0,
    EM_ASK_NAN = 1,
    EM_ASK_INFINITE = 2,
    EM_ASK_OUTSIDE = 3,
    EM_ASK_TYPE = 4, /* it is of another type */
    EM_ASK_NEW = 5,  /* a text nobody knows */
    /* of a row */
    EM_ASK_FEATURES = 0, /* some are absent */
    EM_ASK_REPEATED = 1, /* all as in the row before */
    EM_ASK_LATE = 2,
    EM_ASK_EARLY = 3,
    EM_ASK_ORDER = 4, /* its time is before that of the row before */
    EM_QUESTIONS = 6,
    EM_QUALITY_TICK = 1 << 8,
    EM_QUALITY_RUN = 1 << 9,
    EM_QUALITY_MOVED = 1 << 10,
};

typedef struct {
    em_answers *answers[EM_QUESTIONS]; /* NULL: not yet */
    uint64_t yes[EM_QUESTIONS];        /* of the open window */
    uint64_t learnt[EM_QUESTIONS];     /* yes while learning */
    uint64_t seen;                     /* answers to each question */
    uint64_t until;                    /* to the next tick, >= 1 */
    uint32_t asked;                    /* a bit each question that is judged at all */
    uint32_t muted;                    /* and that is only counted now */
    bool learning;
} em_rates;

/* One stream. */
typedef struct {
    em_rates rates;
    double low, high;   /* finite; what lies beyond is out of range, or infinite */
    double last;        /* the last number; NaN before the first */
    uint64_t run;       /* numbers equal to it in a row, itself included */
    uint64_t longest;   /* run of the open window */
    uint64_t run_limit; /* 0: nobody asks */
    uint64_t ties;      /* numbers equal to the one before, and */
    uint64_t numbers;   /* numbers, both while `counting` */
    uint64_t cell;      /* bits of the last cell, missing ones included */
    bool counting;
    bool stuck;
} em_quality;

/* The rows of one model. A limit that is infinite is never passed. */
typedef struct {
    em_rates rates;
    double late_s, early_s; /* behind and ahead of the clock */
    double disorder_s;      /* behind the row before */
    double last_ts;         /* NaN: none */
} em_rows;

/* No cell: equal to none. */
#define EM_CELL_NONE UINT64_C(0x7ff8000000000e03)

void em_rates_init(em_rates *rates);
void em_quality_init(em_quality *quality);
void em_rows_init(em_rows *rows);

/* One more answer to each question; yes: a bit each that is yes. */
unsigned em_rates_answer(em_rates *rates, unsigned yes);
/* Takes numbers until there is something to tell: how many were taken, *told what the last of them made. x: not NaN. */
size_t em_quality_push_until(em_quality *quality, const double *x, size_t count, unsigned *told);
/* What is wrong with the time of a row: bits of EM_ASK_LATE, EM_ASK_EARLY, EM_ASK_ORDER. wall_s: NaN when
 * nothing is known of the clock. */
unsigned em_rows_time(em_rows *rows, double ts, double wall_s);
/* As em_quality_push_until; yes: the bits of each row. */
size_t em_rows_push_until(em_rows *rows, const uint8_t *yes, size_t count, unsigned *told);
/* same[i] stays where cell i is equal to the one before, bit by bit; false when none does. The last cell is kept. */
bool em_quality_compare(em_quality *quality, const double *cells, size_t count, uint8_t *same);

#endif
