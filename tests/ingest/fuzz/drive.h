/* One input through the decoder: once in a piece and once in reads of any size, each read in memory of exactly its size
 * at any alignment, so that one byte too far is seen. Both must lead to the same events, refusals and faults.
 *
 * The first two bytes of an input choose the limits and the reads, the rest is what a client sends.
 */
#ifndef DRIVE_H
#define DRIVE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "em_event.h"

#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

typedef struct tally {
    uint64_t hash; /* over everything that a caller can see */
    uint32_t frames, events;
} tally;

static void add(tally *all, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++) {
        all->hash = (all->hash ^ at[i]) * UINT64_C(0x100000001B3);
    }
}

static void add_number(tally *all, double number) {
    add(all, &number, sizeof number);
}

static void add_count(tally *all, uint64_t count) {
    add(all, &count, sizeof count);
}

static void must_be_utf8(em_span span) {
    for (uint32_t i = 0; i < span.size;) {
        uint8_t c = span.data[i];
        uint32_t more = c < 0x80 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
        MUST(c < 0x80 || (c >= 0xC2 && c < 0xF5));
        MUST(i + more < span.size);
        MUST(c != 0xED || span.data[i + 1] < 0xA0);
        for (uint32_t k = 1; k <= more; k++) {
            MUST((span.data[i + k] & 0xC0) == 0x80);
        }
        i += more + 1;
    }
}

static void add_text(tally *all, em_span span, uint32_t most) {
    MUST(span.size == 0 || span.data != NULL);
    MUST(span.size <= most);
    must_be_utf8(span);
    add_count(all, span.size);
    add(all, span.data, span.size);
}

static void add_prediction(tally *all, const em_decoder *decoder, const em_event *event) {
    uint32_t most = decoder->limits.string_bytes;
    MUST(event->features_length <= decoder->limits.features);
    for (uint32_t i = 0; i < event->features_length; i++) {
        const em_feature *feature = &event->features[i];
        MUST(event->positional == (feature->name.data == NULL));
        add_text(all, feature->name, 4 * EM_NAME_MAX);
        for (uint32_t k = 0; k < i && !event->positional; k++) {
            em_span other = event->features[k].name;
            MUST(other.size != feature->name.size || memcmp(other.data, feature->name.data, other.size) != 0);
        }
        add_count(all, feature->kind);
        if (feature->kind == EM_NUMBER) {
            add_number(all, feature->as.number);
        } else if (feature->kind == EM_TEXT) {
            add_text(all, feature->as.text, most);
        } else {
            MUST(feature->kind == EM_NONE);
        }
    }
    if (event->has_latency) {
        MUST(event->latency_s - event->latency_s == 0.0);
        add_number(all, event->latency_s);
    }
    if (event->kind == EM_VECTOR) {
        MUST(event->vector_length >= 1 && event->vector_length <= EM_VECTOR_MAX);
        add(all, event->vector, event->vector_length * sizeof event->vector[0]);
    }
}

static void add_event(tally *all, const em_decoder *decoder, const em_event *event) {
    add_count(all, event->type);
    if (event->type == EM_ACK) {
        MUST(event->token.data != NULL && event->token.size <= 4 * EM_ACK_MAX);
        add(all, event->token.data, event->token.size);
        add_count(all, event->disk * 2u + event->token_integer);
        return;
    }
    MUST(event->model.size > 0);
    add_text(all, event->model, 4 * EM_NAME_MAX);
    if (event->has_ts) {
        MUST(event->ts - event->ts == 0.0);
        add_number(all, event->ts);
    }
    add_count(all, event->kind);
    if (event->kind == EM_NUMBER) {
        add_number(all, event->number);
    } else if (event->kind == EM_TEXT) {
        add_text(all, event->text, decoder->limits.string_bytes);
    }
    if (event->type == EM_METRIC) {
        MUST(event->kind == EM_NUMBER);
        add_count(all, event->has_step ? (uint64_t)event->step : 1);
        return;
    }
    add_text(all, event->version, 4 * EM_NAME_MAX);
    add_text(all, event->id, 4 * EM_NAME_MAX);
    add_count(all, event->id.data != NULL);
    if (event->type == EM_LABEL) {
        MUST(event->id.data != NULL && (event->kind == EM_NUMBER || event->kind == EM_TEXT));
    } else if (event->type == EM_ERROR) {
        MUST(event->kind == EM_TEXT && event->text.data != NULL && event->text.size <= 4 * EM_NAME_MAX);
    } else {
        add_prediction(all, decoder, event);
    }
}

/* What waits was searched up to the item that is not whole; so a frame of many reads costs its size, not its square. */
static void must_not_look_again(const em_framing *framing, const uint8_t *at, size_t waiting) {
    MUST(framing->searched <= waiting);
    if (framing->encoding == EM_JSON) {
        MUST(framing->searched == waiting);
    } else if (framing->searched < waiting) {
        uint8_t head = at[framing->searched];
        bool text = (head >= 0xA0 && head < 0xC0) || (head >= 0xD9 && head <= 0xDB);
        MUST(text || waiting - framing->searched < 9);
    }
}

/* Everything of `data` in reads of the sizes that `seed` gives; 0: in one. */
static tally drive(em_decoder *decoder, em_encoding encoding, const uint8_t *data, size_t size, uint32_t seed) {
    tally all = {0, 0, 0};
    em_framing framing;
    memset(&framing, 0, sizeof framing);
    framing.encoding = (uint8_t)encoding;
    size_t fed = 0, done = 0;
    em_verdict verdict = EM_NEED_MORE;
    uint32_t random = seed;
    do {
        size_t read = size - fed;
        if (seed) {
            random = random * 1664525u + 1013904223u;
            size_t most = 1 + (random >> 8) % (seed % 3 == 0 ? 4u : seed % 3 == 1 ? 40u : 400u);
            read = read < most ? read : most;
        }
        fed += read;
        bool ended = fed == size;
        size_t waiting = fed - done, shift = seed % 8;
        uint8_t *memory = malloc(waiting + shift + (waiting + shift == 0));
        MUST(memory != NULL);
        uint8_t *at = memory + shift;
        memcpy(at, data + done, waiting);
        size_t used;
        em_event event;
        do {
            verdict = em_decode_next(decoder, &framing, at, waiting, ended, &used, &event);
            MUST(used <= waiting);
            if (verdict != EM_NEED_MORE) {
                char message[200];
                add_count(&all, verdict);
                MUST(verdict == EM_FAULT || used > 0);
                MUST(decoder->frame_at <= waiting);
                add_count(&all, verdict == EM_FAULT ? done + decoder->fault_at : done + decoder->frame_at);
                add_count(&all, event.wrong_type);
                all.frames++;
                if (verdict == EM_EVENT) {
                    all.events++;
                    add_event(&all, decoder, &event);
                } else {
                    MUST(em_reason_name(decoder->reason)[0] != '\0');
                    if (all.frames < 20) {
                        size_t length = em_decoder_message(decoder, message, sizeof message);
                        MUST(length > 0 && length < sizeof message && strlen(message) <= length);
                        add(&all, message, length);
                    }
                }
            }
            at += used;
            waiting -= used;
            done += used;
        } while (verdict != EM_NEED_MORE && verdict != EM_FAULT);
        MUST(verdict == EM_FAULT || waiting <= decoder->limits.frame_bytes);
        MUST(verdict == EM_FAULT || !ended || waiting == 0);
        if (verdict == EM_NEED_MORE && waiting > 0) {
            must_not_look_again(&framing, at, waiting);
        }
        free(memory);
    } while (verdict != EM_FAULT && fed < size);
    return all;
}

static tally drive_input(em_encoding encoding, const uint8_t *data, size_t size) {
    static const em_limits LIMITS[] = {
        {64 * 1024, 4096, 256, 64, 1},
        {300, 20, 20, 5, 2},
        {64, 16, 1, 1, 3},
        {1 << 20, 1 << 20, 5000, 64, 4},
    };
    if (size < 2) {
        return (tally){0, 0, 0};
    }
    static em_decoder decoders[4]; /* used again and again, as an agent does */
    em_decoder *decoder = &decoders[data[0] % 4];
    MUST(decoder->features != NULL || em_decoder_init(decoder, &LIMITS[data[0] % 4]) == 0);
    tally whole = drive(decoder, encoding, data + 2, size - 2, 0);
    tally parts = drive(decoder, encoding, data + 2, size - 2, 1u + data[1]);
    MUST(whole.frames == parts.frames && whole.events == parts.events && whole.hash == parts.hash);
    return whole;
}

#endif
