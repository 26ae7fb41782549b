#include "CBroker.h"

#include <string.h>

/* CRC32C (RFC 3720, appendix B.4): the reflected Castagnoli polynomial. */

/* One byte at a time: for processors without the instruction. */
static uint32_t crc32c_portable(uint32_t crc, const uint8_t *p, size_t n) {
    while (n--) {
        crc ^= *p++;
        for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ (0x82F63B78u & (0u - (crc & 1u)));
    }
    return crc;
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Eight bytes at a time; each step waits for the one before, which takes three cycles. */
__attribute__((target("sse4.2")))
static uint32_t crc32c_sse42(uint32_t crc, const uint8_t *p, size_t n) {
    uint64_t c = crc;
    while (n >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        c = _mm_crc32_u64(c, word);
        p += 8;
        n -= 8;
    }
    uint32_t tail = (uint32_t)c;
    while (n--) tail = _mm_crc32_u8(tail, *p++);
    return tail;
}

/* Four lanes, none of which waits for another: of 16 bytes three times as fast as the instruction, of 64 bytes ten times.
 *
 * 16 bytes are a polynomial. To move it n bits on is to multiply it by x^n, which modulo the polynomial of the CRC is a
 * number of 32 bits for each half: x^(n + 63) for the first 64 bits and x^(n - 1) for the others, as a product of two
 * reflected numbers of 64 bits lacks one factor of x. What comes n bits later is added. At the end the lanes are moved
 * onto one another; the CRC of what is left, after no bytes, is that of everything before. */
#define BY_128 0x3171D43000000000, 0x3743F7BD00000000
#define BY_512 0x75BBA45B00000000, 0x1C19243B00000000
#define BY_2048 0x1426A81500000000, 0xE9A5D8BE00000000

__attribute__((target("pclmul"), always_inline))
static inline __m128i moved(__m128i lane, __m128i by, __m128i onto) {
    __m128i product = _mm_xor_si128(_mm_clmulepi64_si128(lane, by, 0x00), _mm_clmulepi64_si128(lane, by, 0x11));
    return _mm_xor_si128(product, onto);
}

__attribute__((target("sse4.2,pclmul")))
static uint32_t crc32c_folded(uint32_t crc, const uint8_t *p, size_t n) {
    if (n < 128) return crc32c_sse42(crc, p, n);
    const __m128i by_512 = _mm_set_epi64x(BY_512), by_128 = _mm_set_epi64x(BY_128);
    const __m128i *from = (const __m128i *)p;
    __m128i a = _mm_xor_si128(_mm_loadu_si128(from), _mm_cvtsi32_si128((int)crc));
    __m128i b = _mm_loadu_si128(from + 1), c = _mm_loadu_si128(from + 2), d = _mm_loadu_si128(from + 3);
    for (n -= 64, from += 4; n >= 64; n -= 64, from += 4) {
        a = moved(a, by_512, _mm_loadu_si128(from));
        b = moved(b, by_512, _mm_loadu_si128(from + 1));
        c = moved(c, by_512, _mm_loadu_si128(from + 2));
        d = moved(d, by_512, _mm_loadu_si128(from + 3));
    }
    uint8_t left[16];
    _mm_storeu_si128((__m128i *)left, moved(moved(moved(a, by_128, b), by_128, c), by_128, d));
    return crc32c_sse42(crc32c_sse42(0, left, sizeof left), (const uint8_t *)from, n);
}

__attribute__((target("avx512f,vpclmulqdq"), always_inline))
static inline __m512i moved_wide(__m512i lane, __m512i by, __m512i onto) {
    /* 0x96 is a ^ b ^ c. */
    return _mm512_ternarylogic_epi64(
        _mm512_clmulepi64_epi128(lane, by, 0x00), _mm512_clmulepi64_epi128(lane, by, 0x11), onto, 0x96);
}

__attribute__((target("sse4.2,pclmul,avx512f,vpclmulqdq")))
static uint32_t crc32c_wide(uint32_t crc, const uint8_t *p, size_t n) {
    if (n < 1024) return crc32c_folded(crc, p, n);
    const __m512i by_2048 = _mm512_set4_epi64(BY_2048, BY_2048), by_512 = _mm512_set4_epi64(BY_512, BY_512);
    __m512i a = _mm512_xor_si512(_mm512_loadu_si512(p), _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
    __m512i b = _mm512_loadu_si512(p + 64), c = _mm512_loadu_si512(p + 128), d = _mm512_loadu_si512(p + 192);
    for (n -= 256, p += 256; n >= 256; n -= 256, p += 256) {
        a = moved_wide(a, by_2048, _mm512_loadu_si512(p));
        b = moved_wide(b, by_2048, _mm512_loadu_si512(p + 64));
        c = moved_wide(c, by_2048, _mm512_loadu_si512(p + 128));
        d = moved_wide(d, by_2048, _mm512_loadu_si512(p + 192));
    }
    uint8_t left[64];
    _mm512_storeu_si512(left, moved_wide(moved_wide(moved_wide(a, by_512, b), by_512, c), by_512, d));
    return crc32c_sse42(crc32c_sse42(0, left, sizeof left), p, n);
}

uint32_t cbroker_crc32c(uint32_t crc, const void *bytes, size_t length) {
    crc = ~crc;
    if (!__builtin_cpu_supports("sse4.2")) crc = crc32c_portable(crc, bytes, length);
    else if (!__builtin_cpu_supports("pclmul")) crc = crc32c_sse42(crc, bytes, length);
    else if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("vpclmulqdq"))
        crc = crc32c_folded(crc, bytes, length);
    else crc = crc32c_wide(crc, bytes, length);
    return ~crc;
}

#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>

uint32_t cbroker_crc32c(uint32_t crc, const void *bytes, size_t length) {
    const uint8_t *p = bytes;
    crc = ~crc;
    while (length >= 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        crc = __crc32cd(crc, word);
        p += 8;
        length -= 8;
    }
    while (length--) crc = __crc32cb(crc, *p++);
    return ~crc;
}

#else

uint32_t cbroker_crc32c(uint32_t crc, const void *bytes, size_t length) {
    return ~crc32c_portable(~crc, bytes, length);
}

#endif
