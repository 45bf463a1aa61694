// Weights as pairs of binary16, for tensor cores.
//
// A `Raw` holds the bytes of 32 values and does nothing with them until `at` is called, so that a
// loop may fetch the next ones while it works on these. `at(c)` gives values 4c to 4c + 3 as two
// pairs, rounded to eleven bits.
#pragma once
#include "formats.cuh"
#include "rows.cuh"

__device__ inline uint32_t bits(__half2 v) { return *(const uint32_t *)&v; }
__device__ inline __half2 pair(uint32_t v) { return *(const __half2 *)&v; }

// Beyond the largest binary16 there is only that.
__device__ inline float bounded(float v) { return fminf(fmaxf(v, -65504.f), 65504.f); }

__device__ inline uint2 rounded(float4 v) {
    return make_uint2(bits(__floats2half2_rn(v.x, v.y)), bits(__floats2half2_rn(v.z, v.w)));
}

__device__ inline float4 bounded4(float4 v) {
    return make_float4(bounded(v.x), bounded(v.y), bounded(v.z), bounded(v.w));
}

// What rounding left of `v`.
__device__ inline uint2 remainder(float4 v, uint2 high) {
    float2 a = __half22float2(pair(high.x)), b = __half22float2(pair(high.y));
    return rounded(bounded4(make_float4(v.x - a.x, v.y - a.y, v.z - b.x, v.w - b.y)));
}

// Bytes `a` and `b` of a word, which count from 0 to 255, as a pair.
template <int SELECTOR>
__device__ inline __half2 bytes(uint32_t word) {
    // 0x64 above a byte makes 1024 plus that byte.
    return __hsub2(pair(__byte_perm(word, 0x64646464, SELECTOR)), pair(0x64006400));
}
constexpr int LOW_BYTES = 0x4140, HIGH_BYTES = 0x4342;

// Formats whose codes are places in a table.
template <class Group>
constexpr bool IN_GRID = false;
template <>
constexpr bool IN_GRID<IQ2_XXS> = true;

// Formats that are plain values.
template <class Group>
struct Raw {
    static constexpr bool AHEAD = false; // too large to hold twice
    uint4 v[sizeof(Group) / 16];
    __device__ void load(const Weight &w, uint64_t group) {
        for (int i = 0; i < 4; i++)
            load_quarter(w, group, i);
    }
    // What `at` needs for 2 i and 2 i + 1.
    __device__ void load_quarter(const Weight &w, uint64_t group, int i) {
        constexpr int EACH = sizeof(Group) / 64;
        for (int k = EACH * i; k < EACH * (i + 1); k++)
            v[k] = load16(w.body + group * sizeof(Group) + 16 * k);
    }
    template <int COPIES = 1>
    __device__ uint2 at(int c, const uint2 *) const {
        return rounded(((const Group *)this)->at(c));
    }
};

template <>
struct Raw<F16> {
    static constexpr bool AHEAD = false;
    uint4 v[4];
    __device__ void load(const Weight &w, uint64_t group) {
        for (int i = 0; i < 4; i++)
            load_quarter(w, group, i);
    }
    __device__ void load_quarter(const Weight &w, uint64_t group, int i) {
        v[i] = load16(w.body + group * 64 + 16 * i);
    }
    template <int COPIES = 1>
    __device__ uint2 at(int c, const uint2 *) const {
        return make_uint2(word(v[c / 2], c % 2 * 2), word(v[c / 2], c % 2 * 2 + 1));
    }
};

template <>
struct Raw<Q8_0> {
    static constexpr bool AHEAD = true;
    uint4 v[2];
    uint32_t d;
    __device__ void load(const Weight &w, uint64_t group) {
        v[0] = load16(w.body + group * 32);
        v[1] = load16(w.body + group * 32 + 16);
        d = __ldg((const uint16_t *)w.head + group);
    }
    template <int COPIES = 1>
    __device__ uint2 at(int c, const uint2 *) const {
        uint32_t q = word(v[c / 4], c % 4) ^ 0x80808080;
        __half2 scale = pair(d | d << 16), middle = pair(0x64806480);
        __half2 a = __hsub2(pair(__byte_perm(q, 0x64646464, LOW_BYTES)), middle);
        __half2 b = __hsub2(pair(__byte_perm(q, 0x64646464, HIGH_BYTES)), middle);
        return make_uint2(bits(__hmul2(a, scale)), bits(__hmul2(b, scale)));
    }
};

template <>
struct Raw<Q2_K> {
    static constexpr bool AHEAD = true;
    uint4 v[2];
    uint32_t scales, units, shift;
    __device__ void load(const Weight &w, uint64_t group) {
        uint64_t block = group / 8;
        uint32_t s = group % 8;
        const uint8_t *codes = w.body + block * 64 + 32 * (s / 4), *head = w.head + block * 20;
        v[0] = load16(codes);
        v[1] = load16(codes + 16);
        scales = __ldg((const uint16_t *)(head + 2 * s));
        units = __ldg((const uint32_t *)(head + 16));
        shift = 2 * (s % 4);
    }
    template <int COPIES = 1>
    __device__ uint2 at(int c, const uint2 *) const {
        float2 unit = __half22float2(pair(units));
        uint32_t both = scales >> (8 * (c / 4));
        __half2 scale = __float2half2_rn(unit.x * (float)(both & 15));
        __half2 min = __float2half2_rn(-unit.y * (float)(both >> 4 & 15));
        uint32_t q = word(v[c / 4], c % 4) >> shift & 0x03030303;
        return make_uint2(bits(__hfma2(bytes<LOW_BYTES>(q), scale, min)),
                          bits(__hfma2(bytes<HIGH_BYTES>(q), scale, min)));
    }
};

template <>
struct Raw<Q4_K> {
    static constexpr bool AHEAD = true;
    uint4 v[2], head;
    uint32_t j;
    __device__ void load(const Weight &w, uint64_t group) {
        uint64_t block = group / 8;
        j = group % 8;
        const uint8_t *codes = w.body + block * 128 + 32 * (j / 2);
        v[0] = load16(codes);
        v[1] = load16(codes + 16);
        head = load16(w.head + block * 16);
    }
    template <int COPIES = 1>
    __device__ uint2 at(int c, const uint2 *) const {
        float2 unit = __half22float2(pair(head.x));
        // Words y, z, w hold bytes s[0..4], s[4..8], s[8..12].
        uint32_t at = 8 * (j & 3);
        uint32_t low = head.y >> at & 255, high = head.z >> at & 255, rest = head.w >> at & 255;
        uint32_t a = j < 4 ? low & 63 : (rest & 15) | (low >> 6 << 4);
        uint32_t b = j < 4 ? high & 63 : (rest >> 4) | (high >> 6 << 4);
        __half2 scale = __float2half2_rn(unit.x * (float)a);
        __half2 min = __float2half2_rn(-unit.y * (float)b);
        uint32_t q = word(v[c / 4], c % 4) >> (4 * (j & 1)) & 0x0f0f0f0f;
        return make_uint2(bits(__hfma2(bytes<LOW_BYTES>(q), scale, min)),
                          bits(__hfma2(bytes<HIGH_BYTES>(q), scale, min)));
    }
};

// `grid` may lie in shared memory, each entry COPIES times.
template <>
struct Raw<IQ2_XXS> {
    static constexpr bool AHEAD = true;
    uint2 v, head;
    uint32_t shift;
    __device__ void load(const Weight &w, uint64_t group) {
        v = __ldg((const uint2 *)(w.body + group * 8));
        head = __ldg((const uint2 *)w.head + group / 8);
        shift = group % 8 * 4;
    }
    template <int COPIES = 1>
    __device__ uint2 at(int c, const uint2 *grid) const {
        float multiple = (float)(2 * (head.y >> shift & 15) + 1);
        __half2 scale = __float2half2_rn(__uint_as_float(head.x) * multiple);
        uint2 both = grid[(v.x >> (8 * (c / 2)) & 255) * COPIES];
        uint32_t m = c % 2 ? both.y : both.x, signs = v.y << c;
        // 1024 times a binary16 is one too, so that taking it off in the same step is exact.
        __half2 off = __hmul2(scale, __float2half2_rn(-1024.f));
        auto signed_pair = [&](int selector, int spread) {
            __half2 value = __hfma2(pair(__byte_perm(m, 0x64646464, selector)), scale, off);
            return bits(value) ^ (__byte_perm(signs, 0, spread) & 0x80008000);
        };
        return make_uint2(signed_pair(LOW_BYTES, 0x1404), signed_pair(HIGH_BYTES, 0x3424));
    }
};

template <>
struct Raw<MXFP4> {
    static constexpr bool AHEAD = true;
    uint4 v;
    uint32_t e;
    __device__ void load(const Weight &w, uint64_t group) {
        v = load16(w.body + group * 16);
        e = __ldg(w.head + group);
    }
    template <int COPIES = 1>
    __device__ uint2 at(int c, const uint2 *) const {
        float half_scale = __uint_as_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
        float scale = half_scale * 32768.f;
        uint32_t q = word(v, c % 4) >> (4 * (c / 4));
        auto value = [&](int k) {
            uint32_t code = q >> (8 * k);
            return scale * __half2float(__ushort_as_half((code & 8) << 12 | (code & 7) << 9));
        };
        return rounded(make_float4(value(0), value(1), value(2), value(3)));
    }
};

// c += a b, for 16 rows of a and 8 columns of b, 16 deep.
//
// Lane 4 g + q holds: of a, rows g and g + 8; of b, column g; of c, rows g and g + 8 of columns 2 q
// and 2 q + 1. Which of the 16 depths are the lane's four is free as long as a and b agree: here
// always neighbours.
__device__ inline void multiply(float (&c)[4], uint2 low, uint2 high, uint32_t b0, uint32_t b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(low.x), "r"(high.x), "r"(low.y), "r"(high.y), "r"(b0), "r"(b1));
}

__device__ inline void copy16(void *shared, const void *from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(
                     (uint32_t)__cvta_generic_to_shared(shared)),
                 "l"(from));
}
__device__ inline void copy8(void *shared, const void *from) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8;" ::"r"(
                     (uint32_t)__cvta_generic_to_shared(shared)),
                 "l"(from));
}
// Zeros instead, where there is nothing to copy.
__device__ inline void copy16_or_none(void *shared, const void *from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(
                     (uint32_t)__cvta_generic_to_shared(shared)),
                 "l"(from), "r"(there ? 16 : 0));
}
__device__ inline void copy4_or_none(void *shared, const void *from, bool there) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(
                     (uint32_t)__cvta_generic_to_shared(shared)),
                 "l"(from), "r"(there ? 4 : 0));
}
__device__ inline void copies_end() { asm volatile("cp.async.commit_group;"); }
// Waits for all groups of copies but the last N.
template <int N>
__device__ inline void copies_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

// Two codes of E4M3, in the high bytes of the halves of `two`.
__device__ inline uint32_t expand(uint32_t two, __half2 scale) {
    uint32_t v = (two & 0x7f007f00) >> 1 | (two & 0x80008000);
    return bits(__hmul2(pair(v), scale));
}

// Channels 8 chunk to 8 chunk + 7 of a packed latent row.
__device__ inline uint4 expand_chunk(const uint8_t *from, uint32_t chunk) {
    if (chunk < PLAIN / 8) {
        uint2 codes = *(const uint2 *)(from + chunk * 8);
        // Exponents of binary16 are eight larger.
        __half2 unit = __float2half2_rn(power(from[PLAIN + chunk / 8]) * 256.f);
        return make_uint4(expand(__byte_perm(codes.x, 0, 0x1404), unit),
                          expand(__byte_perm(codes.x, 0, 0x3424), unit),
                          expand(__byte_perm(codes.y, 0, 0x1404), unit),
                          expand(__byte_perm(codes.y, 0, 0x3424), unit));
    }
    const uint8_t *rotary = from + PLAIN + 8 + (chunk - PLAIN / 8) * 16;
    uint2 a = *(const uint2 *)rotary, b = *(const uint2 *)(rotary + 8);
    auto both = [](uint32_t v) {
        return bits(__floats2half2_rn(__uint_as_float(v << 16), __uint_as_float(v & 0xffff0000u)));
    };
    return make_uint4(both(a.x), both(a.y), both(b.x), both(b.y));
}
