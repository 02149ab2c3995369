#include "em_table.h"

#include "em_join.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Entries of a column that are no number: NaN with these bits. One from outside is made a plain NaN. */
static const uint64_t MISSING_BITS = UINT64_C(0x7ff8000000000e01);
static const uint64_t NOTHING_BITS = UINT64_C(0x7ff8000000000e02);

static double from_bits(uint64_t bits)
{
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t to_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* --- names ----------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t a)
{
    a ^= a >> 32;
    a *= UINT64_C(0xd6e8feb86659fd93);
    return a ^ a >> 32;
}

static uint64_t hash_bytes(uint64_t hash, const uint8_t *data, uint32_t size)
{
    hash = mix(hash ^ size);
    for (; size >= 8; size -= 8, data += 8) {
        uint64_t part;
        memcpy(&part, data, sizeof part);
        hash = mix(hash ^ part);
    }
    uint64_t rest = 0;
    for (uint32_t i = 0; i < size; i++)
        rest |= (uint64_t)data[i] << 8 * i;
    return mix(hash ^ rest);
}

static inline uint64_t word_at(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Names are short: by words, of which the last two may overlap, and without a call. */
static inline bool same(const uint8_t *a, const uint8_t *b, uint32_t size)
{
    uint64_t differ = 0;
    if (size >= 8) {
        for (uint32_t i = 0; i + 8 < size; i += 8)
            differ |= word_at(a + i) ^ word_at(b + i);
        return (differ | (word_at(a + size - 8) ^ word_at(b + size - 8))) == 0;
    }
    for (uint32_t i = 0; i < size; i++)
        differ |= (uint64_t)(a[i] ^ b[i]);
    return differ == 0;
}

static bool is_model(const em_model *model, em_span name, em_span version)
{
    return model->model_size == name.size && model->version_size == version.size &&
           same(model->key, name.data, name.size) &&
           same(model->key + name.size, version.data, version.size);
}

static uint64_t hash_of(const em_table *table, em_span name, em_span version)
{
    return hash_bytes(hash_bytes(table->seed, name.data, name.size), version.data, version.size);
}

static em_model *find_model(em_table *table, em_span name, em_span version)
{
    if (table->last != NULL && is_model(table->last, name, version))
        return table->last;
    if (table->model_count == 0)
        return NULL;
    uint64_t hash = hash_of(table, name, version);
    for (uint32_t i = (uint32_t)hash & table->index_mask; table->index[i] != 0;
         i = (i + 1) & table->index_mask) {
        em_model *model = table->models[table->index[i] - 1];
        if (model->hash == hash && is_model(model, name, version))
            return table->last = model;
    }
    return NULL;
}

/* The slot of a feature, or -1. */
static int64_t find_feature(const em_table *table, const em_model *model, em_span name)
{
    if (model->index == NULL)
        return -1;
    uint64_t hash = hash_bytes(table->seed, name.data, name.size);
    for (uint32_t i = (uint32_t)hash & model->index_mask; model->index[i] != 0;
         i = (i + 1) & model->index_mask) {
        uint32_t slot = model->index[i] - 1;
        const em_stream *stream = &model->streams[slot];
        if (stream->name_size == name.size && same(stream->name, name.data, name.size))
            return slot;
    }
    return -1;
}

/* --- entering -------------------------------------------------------------------------------- */

int em_table_init(em_table *table, uint64_t seed)
{
    memset(table, 0, sizeof *table);
    table->seed = seed;
    table->wall_s = (double)NAN;
    table->block = malloc(EM_BLOCK_VALUES * sizeof *table->block);
    table->ids = malloc(EM_BLOCK_ID_BYTES); /* the system gives memory to what is touched */
    if (table->block == NULL || table->ids == NULL) {
        em_table_free(table);
        return -1;
    }
    return 0;
}

static void free_model(em_model *model)
{
    em_model_clear(model);
    free(model->streams);
    free(model->order);
    free(model->key);
    free(model);
}

void em_table_free(em_table *table)
{
    for (uint32_t i = 0; i < table->model_count; i++)
        free_model(table->models[i]);
    free(table->models);
    free(table->index);
    free(table->block);
    free(table->ids);
    free(table->join_ids);
    free(table->vectors);
    memset(table, 0, sizeof *table);
}

/* A power of two, at least twice as many as are in it. */
static uint32_t index_size(uint32_t count)
{
    uint32_t size = 8;
    while (size < 2 * count)
        size *= 2;
    return size;
}

static void index_models(em_table *table)
{
    memset(table->index, 0, ((size_t)table->index_mask + 1) * sizeof *table->index);
    for (uint32_t m = 0; m < table->model_count; m++) {
        uint32_t i = (uint32_t)table->models[m]->hash & table->index_mask;
        while (table->index[i] != 0)
            i = (i + 1) & table->index_mask;
        table->index[i] = m + 1;
    }
}

static int reserve_models(em_table *table)
{
    if (table->model_count < table->model_room)
        return 0;
    uint32_t room = table->model_room == 0 ? 4 : 2 * table->model_room;
    em_model **models = realloc(table->models, room * sizeof(em_model *));
    if (models == NULL)
        return -1;
    table->models = models;
    uint32_t *index = malloc(index_size(room) * sizeof *index);
    if (index == NULL)
        return -1;
    free(table->index);
    table->index = index;
    table->index_mask = index_size(room) - 1;
    table->model_room = room;
    index_models(table);
    return 0;
}

em_model *em_table_add(em_table *table, const uint8_t *model, uint32_t model_size,
                       const uint8_t *version, uint32_t version_size)
{
    em_span name = {model, model_size}, second = {version, version_size};
    assert(find_model(table, name, second) == NULL);
    em_model *made = calloc(1, sizeof *made);
    uint8_t *key = malloc((size_t)model_size + version_size + 1);
    if (made == NULL || key == NULL || reserve_models(table)) {
        free(made);
        free(key);
        return NULL;
    }
    if (model_size != 0)
        memcpy(key, model, model_size);
    if (version_size != 0)
        memcpy(key + model_size, version, version_size);
    made->key = key;
    made->model_size = model_size;
    made->version_size = version_size;
    made->hash = hash_of(table, name, second);
    made->output = made->latency = made->confidence = made->entropy = -1;
    made->slow = true;
    table->models[table->model_count++] = made;
    index_models(table);
    return made;
}

void em_table_remove(em_table *table, em_model *model)
{
    assert(table->block_count == 0);
    for (uint32_t i = 0; i < table->model_count; i++) {
        if (table->models[i] == model) {
            table->models[i] = table->models[--table->model_count];
            break;
        }
    }
    index_models(table);
    table->last = NULL;
    table->block_model = NULL;
    free_model(model);
}

static int reserve_streams(em_model *model)
{
    if (model->stream_count < model->stream_room)
        return 0;
    uint32_t room = model->stream_room == 0 ? 8 : 2 * model->stream_room;
    em_stream *streams = realloc(model->streams, room * sizeof *streams);
    if (streams == NULL)
        return -1;
    model->streams = streams;
    uint32_t *order = realloc(model->order, room * sizeof *order);
    if (order == NULL)
        return -1;
    model->order = order;
    memset(order, 0, room * sizeof *order);
    uint32_t *index = calloc(index_size(room), sizeof *index);
    if (index == NULL)
        return -1;
    free(model->index);
    model->index = index;
    model->index_mask = index_size(room) - 1;
    model->stream_room = room;
    return 0;
}

static void index_features(const em_table *table, em_model *model)
{
    memset(model->index, 0, ((size_t)model->index_mask + 1) * sizeof *model->index);
    for (uint32_t s = 0; s < model->stream_count; s++) {
        const em_stream *stream = &model->streams[s];
        if (stream->name_size == 0)
            continue;
        uint64_t hash = hash_bytes(table->seed, stream->name, stream->name_size);
        uint32_t i = (uint32_t)hash & model->index_mask;
        while (model->index[i] != 0)
            i = (i + 1) & model->index_mask;
        model->index[i] = s + 1;
    }
}

int32_t em_model_add(em_table *table, em_model *model, em_role role, const uint8_t *name,
                     uint32_t name_size, em_window *window, em_watch *watch, em_quality *quality)
{
    assert(table->block_count == 0);
    bool feature = role == EM_ROLE_FEATURE;
    uint8_t *copy = NULL;
    if (reserve_streams(model))
        return -1;
    if (feature && name_size != 0) {
        copy = malloc(name_size);
        if (copy == NULL)
            return -1;
        memcpy(copy, name, name_size);
    }
    uint32_t slot = model->stream_count++;
    model->streams[slot] = (em_stream){
        .name = copy,
        .name_size = copy != NULL ? name_size : 0,
        .window = window,
        .watch = watch,
        .quality = quality,
        .feature = feature,
    };
    if (role == EM_ROLE_OUTPUT)
        model->output = (int32_t)slot;
    else if (role == EM_ROLE_LATENCY)
        model->latency = (int32_t)slot;
    else if (role == EM_ROLE_CONFIDENCE)
        model->confidence = (int32_t)slot;
    else if (role == EM_ROLE_ENTROPY)
        model->entropy = (int32_t)slot;
    else
        model->feature_streams++;
    index_features(table, model);
    table->block_model = NULL; /* its columns begin elsewhere now */
    return (int32_t)slot;
}

int em_model_set_positions(em_model *model, const uint32_t *slots, uint32_t length)
{
    uint32_t *copy = malloc(((size_t)length + 1) * sizeof *copy);
    if (copy == NULL)
        return -1;
    if (length != 0)
        memcpy(copy, slots, length * sizeof *copy);
    free(model->positions);
    model->positions = copy;
    model->positions_length = length;
    return 0;
}

int em_table_join(em_table *table, em_model *model, bool joins)
{
    assert(table->block_count == 0);
    if (joins && table->join_ids == NULL)
        table->join_ids = malloc(EM_BLOCK_ROWS * sizeof *table->join_ids);
    model->joins = joins && table->join_ids != NULL;
    return model->joins == joins ? 0 : -1;
}

int em_table_brief(em_table *table, em_model *model, bool vectors)
{
    assert(table->block_count == 0);
    if (vectors && table->vectors == NULL)
        table->vectors = malloc(EM_BLOCK_ROWS * sizeof *table->vectors);
    model->vectors = vectors && table->vectors != NULL;
    return model->vectors == vectors ? 0 : -1;
}

void em_model_clear(em_model *model)
{
    for (uint32_t i = 0; i < model->stream_count; i++)
        free(model->streams[i].name);
    free(model->index);
    free(model->positions);
    model->index = NULL;
    model->positions = NULL;
    model->positions_length = 0;
    model->index_mask = 0;
    model->stream_count = 0;
    model->stream_room = 0;
    model->feature_streams = 0;
    model->output = model->latency = model->confidence = model->entropy = -1;
    model->vectors = false;
    model->slow = true;
}

/* --- taking ---------------------------------------------------------------------------------- */

static bool begin_block(em_table *table, em_model *model)
{
    uint32_t columns = model->stream_count + 1;
    if (columns > EM_BLOCK_VALUES)
        return false;
    table->block_model = model;
    table->block_capacity = columns * EM_BLOCK_ROWS <= EM_BLOCK_VALUES
                                ? EM_BLOCK_ROWS
                                : (uint32_t)EM_BLOCK_VALUES / columns;
    table->ids_size = 0;
    table->join_count = 0;
    table->vector_count = 0;
    table->kept = 0;
    return true;
}

/* False where the stream cannot take a number yet. */
static bool put_number(em_table *table, em_model *model, uint32_t slot, double x)
{
    em_stream *stream = &model->streams[slot];
    if (stream->window->moments == NULL)
        return false;
    if (x != x) {
        x = (double)NAN;
        stream->special = true;
    }
    table->block[slot * table->block_capacity + table->block_count] = x;
    return true;
}

static void put_special(em_table *table, em_model *model, uint32_t slot, uint64_t bits)
{
    model->streams[slot].special = true;
    table->block[slot * table->block_capacity + table->block_count] = from_bits(bits);
}

static bool put_optional(em_table *table, em_model *model, int32_t slot, bool there, double x)
{
    if (slot < 0)
        return !there;
    if (there)
        return put_number(table, model, (uint32_t)slot, x);
    put_special(table, model, (uint32_t)slot, NOTHING_BITS);
    return true;
}

/* The slot of feature k, or -1. */
static int64_t slot_of(const em_table *table, em_model *model, const em_event *event, uint32_t k)
{
    if (event->positional)
        return model->positions[k];
    em_span name = event->features[k].name;
    if (k >= model->stream_count)
        return -1;
    uint32_t guess = model->order[k];
    if (guess < model->stream_count) {
        const em_stream *stream = &model->streams[guess];
        if (stream->name_size == name.size && name.size != 0 &&
            same(stream->name, name.data, name.size))
            return guess;
    }
    int64_t slot = find_feature(table, model, name);
    if (slot >= 0)
        model->order[k] = (uint32_t)slot;
    return slot;
}

static bool put_features(em_table *table, em_model *model, const em_event *event)
{
    if (event->positional && event->features_length != model->positions_length)
        return event->features_length == 0 && model->features == 0;
    uint64_t stamp = ++model->stamp;
    for (uint32_t k = 0; k < event->features_length; k++) {
        const em_feature *feature = &event->features[k];
        if (feature->kind == EM_TEXT)
            return false;
        int64_t slot = slot_of(table, model, event, k);
        if (slot < 0)
            return false;
        model->streams[slot].stamp = stamp;
        if (feature->kind == EM_NONE)
            put_special(table, model, (uint32_t)slot, MISSING_BITS);
        else if (!put_number(table, model, (uint32_t)slot, feature->as.number))
            return false;
    }
    if (event->features_length == model->features)
        return true;
    if (model->feature_streams != model->features)
        return false; /* one that is absent is not here */
    for (uint32_t slot = 0; slot < model->stream_count; slot++) {
        const em_stream *stream = &model->streams[slot];
        if (!stream->feature || stream->stamp == stamp)
            continue;
        put_special(table, model, slot, MISSING_BITS);
    }
    return true;
}

static void keep(em_table *table, em_model *model, const em_event *event)
{
    uint32_t row = table->block_count, place = table->kept++;
    table->block[model->stream_count * table->block_capacity + row] =
        event->has_ts ? event->ts : from_bits(NOTHING_BITS);
    table->kept_rows[place] = row;
    table->id_sizes[place] = -1;
    if (event->id.data != NULL) {
        memcpy(table->ids + table->ids_size, event->id.data, event->id.size);
        table->ids_size += event->id.size;
        table->id_sizes[place] = (int32_t)event->id.size;
    }
    if (!model->every)
        model->skip = model->gaps[model->gap_next++];
}

static void hold_id(em_table *table, const em_event *event)
{
    if (event->id.data == NULL)
        return;
    table->join_ids[table->join_count] = em_join_id(table->seed, event->id.data, event->id.size);
    table->join_rows[table->join_count++] = table->block_count;
}

/* Whether what is to be kept of it would find no room. */
static bool is_crowded(const em_table *table, const em_model *model, const em_event *event)
{
    return model->keep && model->skip == 0 &&
           (event->id.size > EM_BLOCK_ID_BYTES - table->ids_size ||
            (!model->every && model->gap_next == model->gap_count));
}

bool em_table_cell(const em_table *table, uint32_t column, uint32_t row, double *x)
{
    *x = table->block[column * table->block_capacity + row];
    return *x == *x || (to_bits(*x) != MISSING_BITS && to_bits(*x) != NOTHING_BITS);
}

/* The vector is held once its row is. */
static bool put_vector(em_table *table, em_model *model, const em_event *event)
{
    em_confidence all;
    em_vector *made = &table->vectors[table->vector_count];
    em_confidence_reset(&all);
    for (uint32_t i = 0; i < event->vector_length; i++)
        em_confidence_push(&all, event->vector[i]);
    made->brief = em_confidence_brief(&all);
    made->row = table->block_count;
    made->width = event->vector_length;
    return put_number(table, model, (uint32_t)model->confidence, made->brief.confidence) &&
           put_number(table, model, (uint32_t)model->entropy, made->brief.entropy);
}

static bool put_no_vector(em_table *table, em_model *model)
{
    return put_optional(table, model, model->confidence, false, 0.0) &&
           put_optional(table, model, model->entropy, false, 0.0);
}

static uint8_t what_is_wrong(const em_table *table, em_model *model, const em_event *event)
{
    unsigned wrong = event->has_ts ? em_rows_time(model->rows, event->ts, table->wall_s) : 0;
    if (event->features_length < model->features)
        wrong |= 1u << EM_ASK_FEATURES;
    return (uint8_t)wrong;
}

em_taken em_table_take(em_table *table, const em_event *event)
{
    if (event->type != EM_PREDICTION || event->wrong_type != 0 || event->kind == EM_TEXT)
        return EM_SLOW;
    bool vector = event->kind == EM_VECTOR;
    em_model *model = find_model(table, event->model, event->version);
    if (model == NULL || model->slow || (vector && (!model->vectors || model->joins)))
        return EM_SLOW;
    if (table->block_count == 0) {
        if (!begin_block(table, model) || is_crowded(table, model, event))
            return EM_SLOW;
    } else if (table->block_model != model || table->block_count == table->block_capacity ||
               is_crowded(table, model, event)) {
        return EM_FULL;
    }
    if (!put_optional(table, model, model->output, event->kind == EM_NUMBER, event->number) ||
        !put_optional(table, model, model->latency, event->has_latency, event->latency_s) ||
        !(vector ? put_vector(table, model, event) : put_no_vector(table, model)) ||
        !put_features(table, model, event))
        return EM_SLOW;
    table->vector_count += vector;
    if (model->rows != NULL)
        table->wrong[table->block_count] = what_is_wrong(table, model, event);
    if (model->joins)
        hold_id(table, event);
    bool skipped = model->skip > 0;
    if (skipped)
        model->skip--;
    else if (model->keep)
        keep(table, model, event);
    table->block_count++;
    return skipped || model->keep ? EM_TAKEN : EM_SHOWN;
}

em_verdict em_table_feed(em_table *table, em_decoder *decoder, em_framing *framing,
                         const uint8_t *buf, size_t size, bool ended, size_t *used, size_t *last,
                         em_event *event, em_taken *taken)
{
    *used = 0;
    for (;;) {
        size_t step = 0;
        *last = *used;
        em_verdict verdict =
            em_decode_next(decoder, framing, buf + *used, size - *used, ended, &step, event);
        *used += step;
        if (verdict != EM_EVENT)
            return verdict;
        *taken = em_table_take(table, event);
        if (*taken != EM_TAKEN)
            return verdict;
    }
}

/* --- emptying the block ---------------------------------------------------------------------- */

/* Numbers from `from` on, plain NaN not among them. */
static uint32_t numbers_until(const em_stream *stream, const double *column, uint32_t from,
                              uint32_t count)
{
    if (!stream->special)
        return count;
    while (from < count && column[from] == column[from])
        from++;
    return from;
}

static void fill_window(const em_stream *stream, const double *column, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t end = numbers_until(stream, column, i, count);
        em_window_push(stream->window, column + i, end - i);
        i = end;
        if (i == count)
            break;
        uint64_t bits = to_bits(column[i]);
        if (bits == MISSING_BITS)
            stream->window->missing++;
        else if (bits != NOTHING_BITS)
            em_window_push(stream->window, column + i, 1);
    }
}

/* Goes on at *at; 0 when the column is done. */
static unsigned ask_watch(const em_stream *stream, const double *column, uint32_t count,
                          uint32_t *at)
{
    unsigned told = 0;
    while (*at < count && told == 0) {
        uint32_t end = numbers_until(stream, column, *at, count);
        if (end > *at)
            *at += (uint32_t)em_watch_push_until(stream->watch, column + *at, end - *at, &told);
        else
            (*at)++;
    }
    return told;
}

/* As ask_watch. */
static unsigned ask_quality(const em_stream *stream, const double *column, uint32_t count,
                            uint32_t *at)
{
    unsigned told = 0;
    while (*at < count && told == 0) {
        uint32_t end = numbers_until(stream, column, *at, count);
        if (end > *at) {
            *at += (uint32_t)em_quality_push_until(stream->quality, column + *at, end - *at, &told);
            continue;
        }
        uint64_t bits = to_bits(column[(*at)++]);
        if (bits != NOTHING_BITS)
            told = em_rates_answer(&stream->quality->rates,
                                   1u << (bits == MISSING_BITS ? EM_ASK_MISSING : EM_ASK_NAN));
    }
    return told;
}

static unsigned ask_rows(em_table *table, uint32_t count, uint32_t *at)
{
    em_model *model = table->block_model;
    unsigned told = 0;
    if (*at == 0 && table->some_same && model->feature_streams != 0)
        for (uint32_t i = 0; i < count; i++)
            table->wrong[i] |= (uint8_t)(table->same[i] << EM_ASK_REPEATED);
    *at += (uint32_t)em_rows_push_until(model->rows, table->wrong + *at, count - *at, &told);
    return told;
}

/* Whom to ask of a stream, in this order. */
enum { FILL, WATCH, QUALITY, DONE };

static void fill(em_table *table, em_stream *stream, const double *column, uint32_t count)
{
    fill_window(stream, column, count);
    if (stream->feature && stream->quality != NULL) {
        if (table->some_same)
            table->some_same = em_quality_compare(stream->quality, column, count, table->same);
        else
            stream->quality->cell = to_bits(column[count - 1]);
    }
}

unsigned em_table_next(em_table *table, uint32_t *slot, uint32_t *at)
{
    em_model *model = table->block_model;
    uint32_t count = table->block_count;
    unsigned told = 0;
    if (count != 0 && table->slot == 0 && table->at == 0 && table->part == FILL) {
        memset(table->same, 1, count);
        table->some_same = model->rows != NULL;
    }
    for (; count != 0 && told == 0 && table->slot < model->stream_count;) {
        em_stream *stream = &model->streams[table->slot];
        const double *column = table->block + table->slot * table->block_capacity;
        if (table->part == FILL)
            fill(table, stream, column, count);
        else if (table->part == WATCH && stream->watch != NULL)
            told = ask_watch(stream, column, count, &table->at);
        else if (table->part == QUALITY && stream->quality != NULL &&
                 (told = ask_quality(stream, column, count, &table->at)) != 0)
            told |= EM_TOLD_QUALITY;
        *slot = table->slot;
        *at = table->at - 1;
        if (told != 0)
            return told;
        table->at = 0;
        if (++table->part == DONE) {
            table->part = FILL;
            stream->special = false;
            table->slot++;
        }
    }
    if (count != 0 && model->rows != NULL && table->at < count) {
        told = ask_rows(table, count, &table->at);
        *slot = model->stream_count;
        *at = table->at - 1;
        if (told != 0)
            return told | EM_TOLD_QUALITY;
    }
    table->slot = 0;
    table->at = 0;
    table->part = FILL;
    table->block_count = 0;
    return 0;
}
