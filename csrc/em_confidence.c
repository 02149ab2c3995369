#include "em_confidence.h"

#include <math.h>

void em_confidence_reset(em_confidence *c)
{
    *c = (em_confidence){.first = -INFINITY, .second = -INFINITY};
}

void em_confidence_push(em_confidence *c, double p)
{
    if (isnan(p)) {
        c->nan = true;
    } else if (p > c->first) {
        c->second = c->first;
        c->first = p;
        c->position = c->count;
    } else if (p > c->second) {
        c->second = p;
    }
    c->count++;
    c->sum += p;
    if (p > 0.0)
        c->weighted += p * log(p);
    else if (p < 0.0)
        c->negative = true;
}

double em_confidence_entropy(const em_confidence *c)
{
    if (c->negative || !isfinite(c->sum) || c->sum == 0.0)
        return NAN;
    double entropy = log(c->sum) - c->weighted / c->sum, most = log((double)c->count);
    return entropy < 0.0 ? 0.0 : entropy > most ? most : entropy;
}

em_brief em_confidence_brief(const em_confidence *c)
{
    em_brief brief = {
        .confidence = c->nan ? (double)NAN : c->first,
        .entropy = em_confidence_entropy(c),
        .margin = c->nan ? (double)NAN : c->first - (c->count > 1 ? c->second : 0.0),
        .position = c->position,
    };
    brief.valid = !c->negative && brief.confidence <= 1.0 && fabs(c->sum - 1.0) <= EM_SUM_TOLERANCE;
    return brief;
}
