// Weight formats, 32 values at a time.
//
// On the card a quantised tensor is two planes: the codes of all blocks, and the rest of all blocks
// (scales, minima). So codes are read 16 bytes at a time whatever the block's size in the file is.
// A `Group` holds the bytes of 32 values in registers; `at(c)` gives values 4c to 4c + 3 and is
// meant for unrolled loops.
#pragma once
#include "common.cuh"

struct Weight {
    const uint8_t *body; // codes, or plain values
    const uint8_t *head; // what else a block has
    const uint2 *grid;   // magnitudes of IQ2_XXS
    uint32_t cols, rows; // of one slab
};

__device__ inline float half_at(const uint8_t *p) { return __half2float(*(const __half *)p); }
__device__ inline uint32_t word(const uint4 &v, int i) {
    return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w;
}
__device__ inline uint4 load16(const uint8_t *p) { return __ldg((const uint4 *)p); }

struct F32 {
    float4 v[8];
    __device__ F32(const Weight &w, uint64_t group) {
        for (int i = 0; i < 8; i++)
            v[i] = __ldg((const float4 *)(w.body + group * 128) + i);
    }
    __device__ float4 at(int c) const { return v[c]; }
};

struct F16 {
    uint4 v[4];
    __device__ F16(const Weight &w, uint64_t group) {
        for (int i = 0; i < 4; i++)
            v[i] = load16(w.body + group * 64 + 16 * i);
    }
    __device__ float4 at(int c) const {
        uint32_t a = word(v[c / 2], c % 2 * 2), b = word(v[c / 2], c % 2 * 2 + 1);
        float2 lo = __half22float2(*(const __half2 *)&a), hi = __half22float2(*(const __half2 *)&b);
        return make_float4(lo.x, lo.y, hi.x, hi.y);
    }
};

struct BF16 {
    uint4 v[4];
    __device__ BF16(const Weight &w, uint64_t group) {
        for (int i = 0; i < 4; i++)
            v[i] = load16(w.body + group * 64 + 16 * i);
    }
    __device__ float4 at(int c) const {
        uint32_t a = word(v[c / 2], c % 2 * 2), b = word(v[c / 2], c % 2 * 2 + 1);
        return make_float4(__uint_as_float(a << 16), __uint_as_float(a & 0xffff0000u),
                           __uint_as_float(b << 16), __uint_as_float(b & 0xffff0000u));
    }
};

struct Q8_0 {
    uint4 v[2];
    float d;
    __device__ Q8_0(const Weight &w, uint64_t group) {
        v[0] = load16(w.body + group * 32);
        v[1] = load16(w.body + group * 32 + 16);
        d = half_at(w.head + group * 2);
    }
    __device__ float4 at(int c) const {
        uint32_t q = word(v[c / 4], c % 4);
        return make_float4(d * (float)(int8_t)q, d * (float)(int8_t)(q >> 8),
                           d * (float)(int8_t)(q >> 16), d * (float)(int8_t)(q >> 24));
    }
};

// Head: 16 bytes of scales and minima, then their two units.
struct Q2_K {
    uint4 v[2];
    float scale[2], min[2];
    int shift;
    __device__ Q2_K(const Weight &w, uint64_t group) {
        uint64_t block = group / 8;
        int s = group % 8;
        const uint8_t *codes = w.body + block * 64 + 32 * (s / 4);
        v[0] = load16(codes);
        v[1] = load16(codes + 16);
        const uint8_t *head = w.head + block * 20;
        float d = half_at(head + 16), dmin = half_at(head + 18);
        for (int i = 0; i < 2; i++) {
            scale[i] = d * (float)(head[2 * s + i] & 15);
            min[i] = dmin * (float)(head[2 * s + i] >> 4);
        }
        shift = 2 * (s % 4);
    }
    __device__ float4 at(int c) const {
        uint32_t q = word(v[c / 4], c % 4) >> shift;
        float a = scale[c / 4], b = min[c / 4];
        return make_float4(a * (float)(q & 3) - b, a * (float)(q >> 8 & 3) - b,
                           a * (float)(q >> 16 & 3) - b, a * (float)(q >> 24 & 3) - b);
    }
};

// Head: the two units, then twelve bytes of scales and minima, six bits each.
struct Q4_K {
    uint4 v[2];
    float scale, min;
    int shift;
    __device__ Q4_K(const Weight &w, uint64_t group) {
        uint64_t block = group / 8;
        int j = group % 8;
        const uint8_t *codes = w.body + block * 128 + 32 * (j / 2);
        v[0] = load16(codes);
        v[1] = load16(codes + 16);
        const uint8_t *head = w.head + block * 16, *s = head + 4;
        int a = j < 4 ? s[j] & 63 : (s[j + 4] & 15) | (s[j - 4] >> 6 << 4);
        int b = j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | (s[j] >> 6 << 4);
        scale = half_at(head) * (float)a;
        min = half_at(head + 2) * (float)b;
        shift = 4 * (j % 2);
    }
    __device__ float4 at(int c) const {
        uint32_t q = word(v[c / 4], c % 4) >> shift;
        return make_float4(scale * (float)(q & 15) - min, scale * (float)(q >> 8 & 15) - min,
                           scale * (float)(q >> 16 & 15) - min,
                           scale * (float)(q >> 24 & 15) - min);
    }
};

// As `split_iq2_xxs` lays it out.
struct IQ2_XXS {
    uint32_t words, signs;
    float scale;
    const uint2 *grid;
    __device__ IQ2_XXS(const Weight &w, uint64_t group) {
        uint2 v = __ldg((const uint2 *)(w.body + group * 8));
        words = v.x;
        signs = v.y;
        uint2 head = __ldg((const uint2 *)w.head + group / 8);
        uint32_t multiple = 2 * (head.y >> (4 * (group % 8)) & 15) + 1;
        scale = __uint_as_float(head.x) * (float)multiple;
        grid = w.grid;
    }
    __device__ float4 at(int c) const {
        uint2 both = __ldg(grid + (words >> (8 * (c / 2)) & 255));
        uint32_t m = c % 2 ? both.y : both.x;
        auto value = [&](int k) {
            float v = scale * (float)(m >> (8 * k) & 255);
            return __uint_as_float(__float_as_uint(v) ^ (signs >> (8 * k + 7 - c) & 1) << 31);
        };
        return make_float4(value(0), value(1), value(2), value(3));
    }
};

struct MXFP4 {
    uint4 v;
    float half_scale;
    __device__ MXFP4(const Weight &w, uint64_t group) {
        v = load16(w.body + group * 16);
        uint32_t e = w.head[group];
        half_scale = __uint_as_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
    }
    __device__ float4 at(int c) const {
        uint32_t q = word(v, c % 4) >> (4 * (c / 4));
        // The code's bits as a binary16, whose exponents are 14 too small; doubled, for half the
        // scale.
        auto value = [&](int k) {
            uint32_t code = q >> (8 * k);
            __half h = __ushort_as_half((code & 8) << 12 | (code & 7) << 9);
            return half_scale * (__half2float(h) * 32768.f);
        };
        return make_float4(value(0), value(1), value(2), value(3));
    }
};
