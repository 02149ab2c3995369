#include "em_decimal.h"

#include <assert.h>
#include <string.h>

#include "em_powers.h"

#define MANTISSA_BITS 52
#define INFINITE UINT64_C(0x7FF0000000000000)
#define EXPONENT_MOST INT64_C(1000000000000) /* far beyond what digits of one frame can undo */

static double from_bits(uint64_t bits, bool negative) {
    double number;
    bits |= (uint64_t)negative << 63;
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* --- 19 digits: the product with a power of five in 128 bits ------------------------------------------------------- */

typedef struct wide {
    uint64_t high, low;
} wide;

static wide multiply(uint64_t a, uint64_t b) {
#if defined(__SIZEOF_INT128__) && !defined(EM_PORTABLE)
    __extension__ typedef unsigned __int128 u128;
    u128 product = (u128)a * b;
    return (wide){(uint64_t)(product >> 64), (uint64_t)product};
#else
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t low = a0 * b0, middle = a1 * b0 + (low >> 32), other = a0 * b1 + (uint32_t)middle;
    return (wide){a1 * b1 + (middle >> 32) + (other >> 32), other << 32 | (uint32_t)low};
#endif
}

static int leading_zeros(uint64_t x) { /* x > 0 */
#if defined(__GNUC__) && !defined(EM_PORTABLE)
    return __builtin_clzll(x);
#else
    int zeros = 0;
    for (; !(x >> 63); x <<= 1) {
        zeros++;
    }
    return zeros;
#endif
}

/* The bits of the double nearest to digits * 10^exponent. */
static uint64_t nearest(uint64_t digits, int64_t exponent) {
    if (digits == 0 || exponent < EM_POWER_LOW) {
        return 0;
    }
    if (exponent > EM_POWER_HIGH) {
        return INFINITE;
    }
    int zeros = leading_zeros(digits);
    digits <<= zeros;
    const uint64_t *power = EM_POWERS[exponent - EM_POWER_LOW];
    wide product = multiply(digits, power[0]);
    if ((product.high & 0x1FF) == 0x1FF) { /* the lower half of the power can matter */
        wide second = multiply(digits, power[1]);
        product.low += second.high;
        product.high += second.high > product.low;
    }
    int upper = (int)(product.high >> 63);
    int shift = upper + 64 - MANTISSA_BITS - 3;
    uint64_t mantissa = product.high >> shift;
    int power2 = (int)(((152170 + 65536) * (int32_t)exponent) >> 16) + 63 + upper - zeros + 1023;
    if (power2 <= 0) { /* denormal */
        if (1 - power2 >= 64) {
            return 0;
        }
        mantissa >>= 1 - power2;
        mantissa += mantissa & 1;
        return mantissa >> 1; /* a carry into the exponent is the smallest normal number */
    }
    /* Exactly in the middle, which small powers can hit: to even, and not up. */
    if (product.low <= 1 && exponent >= -4 && exponent <= 23 && (mantissa & 3) == 1 &&
        mantissa << shift == product.high) {
        mantissa &= ~UINT64_C(1);
    }
    mantissa += mantissa & 1;
    mantissa >>= 1;
    if (mantissa >= UINT64_C(2) << MANTISSA_BITS) {
        mantissa = UINT64_C(1) << MANTISSA_BITS;
        power2++;
    }
    if (power2 >= 0x7FF) {
        return INFINITE;
    }
    return (mantissa & ~(UINT64_C(1) << MANTISSA_BITS)) | (uint64_t)power2 << MANTISSA_BITS;
}

/* --- more digits: compared exactly with the middle between two doubles --------------------------------------------- */

#define DIGITS_KEPT 800 /* a middle between two doubles has at most 767; what follows is only "more than" */
#define LIMBS 256       /* 8192 bits; the largest number here needs under 5200 */

typedef struct big {
    uint32_t limb[LIMBS]; /* lowest first */
    int size;             /* no leading zero */
} big;

static void big_add_small(big *x, uint32_t factor, uint32_t add) { /* x * factor + add */
    uint64_t carry = add;
    for (int i = 0; i < x->size; i++) {
        carry += (uint64_t)x->limb[i] * factor;
        x->limb[i] = (uint32_t)carry;
        carry >>= 32;
    }
    if (carry) {
        assert(x->size < LIMBS);
        x->limb[x->size++] = (uint32_t)carry;
    }
}

static void big_times_five(big *x, int64_t power) {
    for (; power >= 13; power -= 13) {
        big_add_small(x, 1220703125u, 0); /* 5^13 */
    }
    for (; power > 0; power--) {
        big_add_small(x, 5, 0);
    }
}

static void big_shift(big *x, int64_t bits) { /* to the left */
    int limbs = (int)(bits / 32), rest = (int)(bits % 32);
    if (x->size == 0) {
        return;
    }
    big_add_small(x, UINT32_C(1) << rest, 0);
    assert(x->size + limbs <= LIMBS);
    memmove(x->limb + limbs, x->limb, (size_t)x->size * sizeof x->limb[0]);
    memset(x->limb, 0, (size_t)limbs * sizeof x->limb[0]);
    x->size += limbs;
}

static int big_compare(const big *a, const big *b) {
    if (a->size != b->size) {
        return a->size < b->size ? -1 : 1;
    }
    for (int i = a->size - 1; i >= 0; i--) {
        if (a->limb[i] != b->limb[i]) {
            return a->limb[i] < b->limb[i] ? -1 : 1;
        }
    }
    return 0;
}

/* Sign of (digits * 10^exponent) - (the middle between the doubles of `bits` and of bits + 1). */
static int against_middle(const big *digits, int64_t exponent, uint64_t bits) {
    uint64_t fraction = bits & ((UINT64_C(1) << MANTISSA_BITS) - 1);
    int biased = (int)(bits >> MANTISSA_BITS);
    uint64_t middle = 2 * (biased ? fraction | UINT64_C(1) << MANTISSA_BITS : fraction) + 1;
    int64_t power2 = (biased ? biased : 1) - 1075 - 1; /* the middle is `middle` * 2^power2 */
    big left = *digits, right = {{(uint32_t)middle, (uint32_t)(middle >> 32)}, middle >> 32 ? 2 : 1};
    big_times_five(exponent >= 0 ? &left : &right, exponent >= 0 ? exponent : -exponent);
    power2 -= exponent; /* 10^e = 5^e * 2^e */
    big_shift(power2 >= 0 ? &right : &left, power2 >= 0 ? power2 : -power2);
    return big_compare(&left, &right);
}

/* The same for a literal of more than 19 digits; `guess` is near. */
static uint64_t nearest_exact(const uint8_t *at, const uint8_t *end, int64_t exponent, uint64_t guess) {
    big digits = {{0}, 0};
    int kept = 0;
    bool point = false, more = false;
    for (; at < end; at++) {
        if (*at == '.') {
            point = true;
        } else if (kept == 0 && *at == '0') {
            exponent -= point; /* a leading zero */
        } else if (kept < DIGITS_KEPT) {
            if (digits.size == 0) {
                digits.limb[digits.size++] = (uint32_t)(*at - '0');
            } else {
                big_add_small(&digits, 10, (uint32_t)(*at - '0'));
            }
            kept++;
            exponent -= point;
        } else {
            more |= *at != '0';
            exponent += !point;
        }
    }
    if (more) { /* not zero, and never the middle itself: one more digit says so */
        big_add_small(&digits, 10, 1);
        exponent--;
        kept++;
    }
    if (exponent + kept < -330) { /* 10^-330 is below the middle of 0 and the smallest double */
        return 0;
    }
    if (exponent + kept > 310) {
        return INFINITE;
    }
    if (guess >= INFINITE) {
        guess = INFINITE - 1;
    }
    while (guess < INFINITE) { /* up */
        int sign = against_middle(&digits, exponent, guess);
        if (sign < 0 || (sign == 0 && !(guess & 1))) {
            break;
        }
        guess++;
    }
    while (guess > 0) { /* down */
        int sign = against_middle(&digits, exponent, guess - 1);
        if (sign > 0 || (sign == 0 && !(guess & 1))) {
            break;
        }
        guess--;
    }
    return guess;
}

/* --- the grammar --------------------------------------------------------------------------------------------------- */

static bool is_digit(const uint8_t *at, const uint8_t *end) {
    return at < end && (uint8_t)(*at - '0') < 10;
}

/* Eight digits at once (three multiplications); false when these bytes are not all digits. */
static bool eight_digits(const uint8_t *at, uint32_t *value) {
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t word;
    memcpy(&word, at, 8);
    if (((word & UINT64_C(0xF0F0F0F0F0F0F0F0)) |
         (((word + UINT64_C(0x0606060606060606)) & UINT64_C(0xF0F0F0F0F0F0F0F0)) >> 4)) !=
        UINT64_C(0x3333333333333333)) {
        return false;
    }
    word -= UINT64_C(0x3030303030303030);
    word = word * 10 + (word >> 8);
    *value = (uint32_t)(((word & UINT64_C(0x000000FF000000FF)) * UINT64_C(0x000F424000000064) +
                         ((word >> 16) & UINT64_C(0x000000FF000000FF)) * UINT64_C(0x0000271000000001)) >>
                        32);
    return true;
#else
    (void)at;
    (void)value;
    return false;
#endif
}

typedef struct significand {
    uint64_t digits; /* the first 19, without leading zeros */
    int count;
    bool more;       /* a digit behind them is not zero */
} significand;

/* Takes digits, leading zeros too; adds to *outside how many of them are not in `into`. */
static const uint8_t *take(const uint8_t *at, const uint8_t *end, significand *into, int64_t *outside) {
    uint32_t eight;
    while (into->count <= 11 && end - at >= 8 && (into->count || *at != '0') && eight_digits(at, &eight)) {
        into->digits = into->digits * 100000000u + eight;
        into->count += 8;
        at += 8;
    }
    for (; is_digit(at, end); at++) {
        uint32_t digit = (uint32_t)(*at - '0');
        if (into->count < 19) {
            into->digits = into->digits * 10 + digit;
            into->count += into->digits != 0;
        } else {
            into->more |= digit != 0;
            ++*outside;
        }
    }
    return at;
}

const uint8_t *em_decimal_read(const uint8_t *at, const uint8_t *end, em_decimal *out) {
    static const double EXACT[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    out->negative = at < end && *at == '-';
    at += out->negative;
    if (!is_digit(at, end)) {
        return NULL;
    }
    /* Nearly all numbers have at most 19 digits: first as if this one had. */
    const uint8_t *first = at, *point = NULL;
    significand digits = {0, 19, false};
    int64_t exponent = 0;
    if (*at == '0') {
        at++;
    } else {
        for (; is_digit(at, end); at++) {
            digits.digits = digits.digits * 10 + (uint32_t)(*at - '0');
        }
    }
    out->digits = (size_t)(at - first);
    if (end - at >= 2 && *at == '.' && is_digit(at + 1, end)) {
        uint32_t eight;
        for (point = at++; end - at >= 8 && eight_digits(at, &eight); at += 8) {
            digits.digits = digits.digits * 100000000u + eight;
        }
        for (; is_digit(at, end); at++) {
            digits.digits = digits.digits * 10 + (uint32_t)(*at - '0');
        }
        exponent = point + 1 - at;
    }
    out->integer = point == NULL;
    if (at - first > 19 + (point != NULL)) {
        int64_t outside = 0;
        digits = (significand){0, 0, false};
        exponent = 0;
        (void)take(first, first + out->digits, &digits, &exponent);
        if (point != NULL) {
            (void)take(point + 1, at, &digits, &outside);
            exponent -= (at - point - 1) - outside;
        }
    }
    const uint8_t *mantissa_end = at;
    int64_t power = 0;
    if (at < end && (*at | 0x20) == 'e') {
        const uint8_t *e = at + 1;
        bool down = e < end && *e == '-';
        e += e < end && (*e == '-' || *e == '+');
        if (is_digit(e, end)) {
            for (; is_digit(e, end); e++) {
                power = power < EXPONENT_MOST ? power * 10 + (*e - '0') : power;
            }
            power = down ? -power : power;
            at = e;
            out->integer = false;
        }
    }
    exponent += power;
    out->fits = false;
    if (!digits.more && exponent == 0 && out->integer) {
        out->fits = true;
        out->magnitude = digits.digits;
        double magnitude = (double)digits.digits;
        out->number = out->negative && digits.digits ? -magnitude : magnitude;
        return at;
    }
    if (!digits.more && digits.digits <= UINT64_C(1) << 53 && exponent >= -22 && exponent <= 22) {
        double exact = (double)digits.digits; /* two exact doubles: one rounding (IEEE, no extended precision) */
        exact = exponent < 0 ? exact / EXACT[-exponent] : exact * EXACT[exponent];
        out->number = out->negative ? -exact : exact;
    } else {
        uint64_t bits = nearest(digits.digits, exponent);
        if (digits.more && bits != nearest(digits.digits + 1, exponent)) {
            bits = nearest_exact(first, mantissa_end, power, bits);
        }
        out->number = from_bits(bits, out->negative);
    }
    return at;
}
