/* What the sliding KS is measured against, in C so that no interpreter is in the figures.
 *
 * treap_*: the published incremental method. D. dos Reis, P. Flach, S. Matwin, G. Batista, "Fast
 *     unsupervised online drift detection using incremental Kolmogorov-Smirnov test", KDD 2016. A
 *     treap holds both samples in the order of (value, random tie, sample); a node's number is
 *     #reference - #window up to itself, kept with the largest and smallest of its subtree and a
 *     lazy addend. An insertion splits, merges and adds to all that is to the right; D is at the
 *     root. Needs m = n. Our own code after the paper, with what the authors' nodes hold (all
 *     numbers double, size and height too) and one allocation a node, as theirs.
 *
 * floor_*: what no exact method with a bucket ring can do without: the rank lookup, one slot of the
 *     ring, two counters, on memory of the same size as em_ks has. It decides nothing.
 *
 * Plain C11; built by _peers.py with csrc on the include path. */
#include "em_ks.c"

#define EXPORT __attribute__((visibility("default")))

/* --- treap ----------------------------------------------------------------------------------- */

typedef struct node {
    double value, tie, sample;
    int priority, size, height;
    double sum, max, min, lazy;
    struct node *left, *right;
} node;

typedef struct {
    node *root;
    double *ring; /* value and tie of each observation in the window */
    uint32_t n, head, filled;
    uint64_t random;
} treap;

static uint64_t next_random(treap *t)
{
    t->random ^= t->random << 13;
    t->random ^= t->random >> 7;
    t->random ^= t->random << 17;
    return t->random;
}

static void sum_all(node *a, double addend)
{
    if (a == NULL)
        return;
    a->sum += addend;
    a->max += addend;
    a->min += addend;
    a->lazy += addend;
}

static void push_down(node *a)
{
    if (a == NULL)
        return;
    sum_all(a->left, a->lazy);
    sum_all(a->right, a->lazy);
    a->lazy = 0.0;
}

static void update(node *a)
{
    if (a == NULL)
        return;
    push_down(a);
    a->max = a->min = a->sum;
    a->size = 1;
    a->height = 0;
    for (int side = 0; side < 2; side++) {
        const node *child = side ? a->right : a->left;
        if (child == NULL)
            continue;
        a->max = child->max > a->max ? child->max : a->max;
        a->min = child->min < a->min ? child->min : a->min;
        a->size += child->size;
        a->height = child->height > a->height ? child->height : a->height;
    }
    a->height++;
}

static node *merge(node *left, node *right)
{
    if (left == NULL)
        return right;
    if (right == NULL)
        return left;
    node *top = left->priority > right->priority ? left : right;
    push_down(top);
    if (top == left)
        left->right = merge(left->right, right);
    else
        right->left = merge(left, right->left);
    update(top);
    return top;
}

typedef struct {
    double value, tie, sample;
} key;

static bool key_reaches(const node *a, const key *k)
{
    if (a->value != k->value)
        return a->value > k->value;
    if (a->tie != k->tie)
        return a->tie > k->tie;
    return a->sample >= k->sample;
}

/* Nodes whose key is at least k go right. */
static void split(node *a, const key *k, node **left, node **right)
{
    *left = *right = NULL;
    if (a == NULL)
        return;
    push_down(a);
    if (key_reaches(a, k)) {
        split(a->left, k, left, &a->left);
        *right = a;
    } else {
        split(a->right, k, &a->right, right);
        *left = a;
    }
    update(*left);
    update(*right);
}

static void split_smallest(node *a, node **left, node **right)
{
    *left = *right = NULL;
    if (a == NULL)
        return;
    push_down(a);
    if (a->left != NULL) {
        split_smallest(a->left, left, &a->left);
        *right = a;
    } else {
        *right = a->right;
        a->right = NULL;
        *left = a;
    }
    update(*left);
    update(*right);
}

static void split_greatest(node *a, node **left, node **right)
{
    *left = *right = NULL;
    if (a == NULL)
        return;
    push_down(a);
    if (a->right != NULL) {
        split_greatest(a->right, &a->right, right);
        *left = a;
    } else {
        *left = a->left;
        a->left = NULL;
        *right = a;
    }
    update(*left);
    update(*right);
}

/* weight: +1 for the reference, -1 for the window. */
static bool add(treap *t, double value, double tie, double weight)
{
    node *left, *greatest, *right, *fresh = malloc(sizeof *fresh);
    if (fresh == NULL)
        return false;
    key k = {value, tie, weight};
    split(t->root, &k, &left, &right);
    split_greatest(left, &left, &greatest);
    double before = greatest == NULL ? 0.0 : greatest->sum;
    left = merge(left, greatest);
    *fresh = (node){.value = value,
                    .tie = tie,
                    .sample = weight,
                    .priority = (int)(next_random(t) >> 33),
                    .size = 1,
                    .height = 1,
                    .sum = before,
                    .max = before,
                    .min = before};
    right = merge(fresh, right);
    sum_all(right, weight);
    t->root = merge(left, right);
    return true;
}

static void take(treap *t, double value, double tie, double weight)
{
    node *left, *gone, *right;
    key k = {value, tie, weight};
    split(t->root, &k, &left, &right);
    split_smallest(right, &gone, &right);
    sum_all(right, -weight);
    free(gone);
    t->root = merge(left, right);
}

static double random_tie(treap *t)
{
    return (double)(next_random(t) >> 11) * 0x1p-53;
}

static void free_nodes(node *a)
{
    if (a == NULL)
        return;
    free_nodes(a->left);
    free_nodes(a->right);
    free(a);
}

EXPORT void treap_free(treap *t)
{
    if (t == NULL)
        return;
    free_nodes(t->root);
    free(t->ring);
    free(t);
}

/* sample: n observations. NULL without memory. */
EXPORT treap *treap_new(const double *sample, uint32_t n)
{
    treap *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->ring = calloc(2 * (size_t)n, sizeof *t->ring);
    t->n = n;
    t->random = UINT64_C(0x9e3779b97f4a7c15);
    bool made = t->ring != NULL;
    for (uint32_t i = 0; made && i < n; i++)
        made = add(t, sample[i], random_tie(t), 1.0);
    if (made)
        return t;
    treap_free(t);
    return NULL;
}

/* The largest difference between the counts now. */
EXPORT double treap_h(const treap *t)
{
    return t->root->max > -t->root->min ? t->root->max : -t->root->min;
}

/* Slides the window over x; the number of slides at which h >= threshold in a full window. SIZE_MAX
 * without memory. */
EXPORT size_t treap_run(treap *t, const double *x, size_t count, double threshold)
{
    size_t reached = 0;
    for (size_t i = 0; i < count; i++) {
        double *place = t->ring + 2 * (size_t)t->head;
        if (t->filled == t->n)
            take(t, place[0], place[1], -1.0);
        else
            t->filled++;
        place[0] = x[i];
        place[1] = random_tie(t);
        if (!add(t, place[0], place[1], -1.0))
            return SIZE_MAX;
        t->head = t->head + 1 == t->n ? 0 : t->head + 1;
        reached += t->filled == t->n && treap_h(t) >= threshold;
    }
    return reached;
}

EXPORT size_t treap_memory(const treap *t)
{
    return sizeof *t + (size_t)t->n * (2 * sizeof(node) + 2 * sizeof *t->ring);
}

/* --- floor ----------------------------------------------------------------------------------- */

typedef struct {
    em_reference reference;
    em_ks ks; /* for its memory and types only */
} floor_loop;

EXPORT void floor_free(floor_loop *f)
{
    if (f == NULL)
        return;
    em_ks_free(&f->ks);
    em_reference_free(&f->reference);
    free(f);
}

/* values: u, increasing; m = u, every one once. NULL without memory. */
EXPORT floor_loop *floor_new(const double *values, uint32_t u, uint32_t n)
{
    floor_loop *f = calloc(1, sizeof *f);
    uint32_t *counts = malloc(u * sizeof *counts);
    bool made = f != NULL && counts != NULL;
    for (uint32_t i = 0; made && i < u; i++)
        counts[i] = 1;
    made = made && em_reference_init(&f->reference, values, counts, u) == 0 &&
           em_ks_init(&f->ks, &f->reference, n, 1) == 0;
    free(counts);
    if (made)
        return f;
    floor_free(f);
    return NULL;
}

#define DEFINE_FLOOR(name, type, slot_type)                                                        \
    static void name(floor_loop *f, const double *x, size_t count)                                 \
    {                                                                                              \
        type *counters = f->ks.steps;                                                              \
        slot_type *ring = f->ks.ring;                                                              \
        uint32_t n = f->ks.n, head = f->ks.head;                                                   \
        for (size_t i = 0; i < count; i++) {                                                       \
            uint32_t bucket = em_reference_bucket(&f->reference, x[i]);                            \
            counters[ring[head]]--;                                                                \
            counters[bucket]++;                                                                    \
            ring[head] = (slot_type)bucket;                                                        \
            head = head + 1 == n ? 0 : head + 1;                                                   \
        }                                                                                          \
        f->ks.head = head;                                                                         \
    }

DEFINE_FLOOR(floor_2_2, int16_t, uint16_t)
DEFINE_FLOOR(floor_4_2, int32_t, uint16_t)
DEFINE_FLOOR(floor_4_4, int32_t, uint32_t)
DEFINE_FLOOR(floor_8_4, int64_t, uint32_t)

EXPORT void floor_run(floor_loop *f, const double *x, size_t count)
{
    if (f->ks.step_bytes == 2)
        floor_2_2(f, x, count);
    else if (f->ks.step_bytes == 4 && f->ks.slot_bytes == 2)
        floor_4_2(f, x, count);
    else if (f->ks.step_bytes == 4)
        floor_4_4(f, x, count);
    else
        floor_8_4(f, x, count);
}
