#include "em_frame.h"

/* Bytes that must follow a first byte, and what the second may be (Unicode, table 3-7). 0: no first byte. */
static uint32_t sequence(uint8_t first, uint8_t *low, uint8_t *high) {
    *low = 0x80;
    *high = 0xBF;
    if (first < 0xC2) {
        return 0;
    }
    if (first < 0xE0) {
        return 1;
    }
    if (first < 0xF0) {
        if (first == 0xE0) {
            *low = 0xA0; /* no overlong form */
        } else if (first == 0xED) {
            *high = 0x9F; /* no surrogate */
        }
        return 2;
    }
    if (first < 0xF5) {
        if (first == 0xF0) {
            *low = 0x90;
        } else if (first == 0xF4) {
            *high = 0x8F; /* nothing above U+10FFFF */
        }
        return 3;
    }
    return 0;
}

const uint8_t *em_utf8_fault(const uint8_t *at, const uint8_t *end) {
    while (at < end) {
        while (end - at >= 16) { /* sixteen characters of ASCII at once */
            uint64_t a, b;
            memcpy(&a, at, 8);
            memcpy(&b, at + 8, 8);
            if ((a | b) & UINT64_C(0x8080808080808080)) {
                break;
            }
            at += 16;
        }
        if (at == end) {
            break;
        }
        if (*at < 0x80) {
            at++;
            continue;
        }
        uint8_t low, high;
        uint32_t more = sequence(*at, &low, &high);
        if (more == 0 || (size_t)(end - at) <= more || at[1] < low || at[1] > high) {
            return at;
        }
        for (uint32_t i = 2; i <= more; i++) {
            if ((at[i] & 0xC0) != 0x80) {
                return at;
            }
        }
        at += more + 1;
    }
    return end;
}
