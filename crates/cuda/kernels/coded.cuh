// Products of codes: weights of 32 values against activations that are codes, in integers.
//
// `Coded` says how a format's rows are divided among lanes: `LANES` of them share a row, each takes
// units of `GROUPS` groups of 32, and meets up to `MOST` tokens at a time, as its registers allow. It reads from a copy of the row in shared memory, body and head.
// `meet` adds a group's products with T rows of activations to their sums; a weight is expanded
// once for all of them.
#pragma once
#include "codes.cuh"
#include "formats.cuh"

template <int T>
struct Acts {
    uint32_t code[T][8];
    float scale[T];
    uint32_t sums[T];
};

__device__ inline int dot4(uint32_t weights, uint32_t codes, int sum) {
    int out;
    asm("dp4a.u32.s32 %0, %1, %2, %3;" : "=r"(out) : "r"(weights), "r"(codes), "r"(sum));
    return out;
}
__device__ inline int dot4_signed(uint32_t weights, uint32_t codes, int sum) {
    return __dp4a((int)weights, (int)codes, sum);
}
// Both halves' sums of codes times bytes 0 and 1 of `mins`.
__device__ inline int dot2(uint32_t sums, uint32_t mins) {
    return __dp2a_lo((int)sums, (int)mins, 0);
}

// An integer below 2^22 that began at this one is a float once it is taken off.
constexpr int ANCHOR = 0x4b400000;
__device__ inline float unanchored(int sum) { return __int_as_float(sum) - 12582912.f; }

template <class Group>
struct Coded;

// The places' magnitudes lie in shared memory in sixteen copies, one for every second lane, so that
// lanes that look up different places do not wait for each other.
constexpr uint32_t TABLE_BYTES = 256 * 128;

// Where a lane looks up. Blocks have one dimension: adding the second index, which is zero, keeps the
// compiler from taking these values apart again.
struct Lookup {
    const uint8_t *table;
    uint32_t copy, stride, minus_one;
    __device__ Lookup(const uint8_t *table)
        : table(table), copy(threadIdx.x % 16 * 8 + threadIdx.y), stride(128 + threadIdx.y),
          minus_one(threadIdx.y - 1) {}
};

template <>
struct Coded<IQ2_XXS> {
    static constexpr int LANES = 32, GROUPS = 1, HEAD_STEP = 8, MOST = 4;
    static constexpr bool TABLE = true;
    __host__ __device__ static uint32_t body(uint32_t cols) { return cols / 4; }
    __host__ __device__ static uint32_t head(uint32_t cols) { return cols / 32; }
    uint2 v;
    float scale;
    __device__ void load(const uint8_t *body, const uint8_t *head, uint32_t unit) {
        v = *(const uint2 *)(body + 8 * unit);
        uint2 h = *(const uint2 *)(head + unit / 8 * 8);
        uint32_t multiple = h.y >> (4 * (unit % 8)) & 15;
        scale = __uint_as_float(h.x) * (float)(int)(2 * multiple + 1);
    }
    template <int T>
    __device__ void meet(int, const Acts<T> &x, float (&acc)[T], const Lookup &look) const {
        int sum[T];
#pragma unroll
        for (int t = 0; t < T; t++)
            sum[t] = ANCHOR;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            uint32_t place = __byte_perm(v.x, 0, 0x4440 + i) * look.stride + look.copy;
            uint2 m = *(const uint2 *)(look.table + place);
#pragma unroll
            for (int half = 0; half < 2; half++) {
                int c = 2 * i + half;
                uint32_t positive = half ? m.y : m.x;
                // No magnitude is zero, so that each byte but the lowest borrows. A product keeps
                // the adders free.
                uint32_t negative = positive * look.minus_one + 0x01010100;
                // Each byte becomes eight copies of its sign.
                uint32_t mask;
                asm("prmt.b32 %0, %1, 0, 0xba98;" : "=r"(mask) : "r"(v.y << c));
                uint32_t w = (positive & ~mask) | (negative & mask);
#pragma unroll
                for (int t = 0; t < T; t++)
                    sum[t] = dot4_signed(w, x.code[t][c], sum[t]);
            }
        }
#pragma unroll
        for (int t = 0; t < T; t++)
            acc[t] += unanchored(sum[t]) * (scale * x.scale[t]);
    }
};

template <>
struct Coded<Q2_K> {
    static constexpr int LANES = 16, GROUPS = 4, HEAD_STEP = 4, MOST = 2;
    static constexpr bool TABLE = false;
    __host__ __device__ static uint32_t body(uint32_t cols) { return cols / 4; }
    __host__ __device__ static uint32_t head(uint32_t cols) { return cols / 256 * 20; }
    uint32_t w[8], scales[2];
    float unit, min;
    __device__ void load(const uint8_t *body, const uint8_t *head, uint32_t at) {
        *(uint4 *)w = *(const uint4 *)(body + 32 * at);
        *(uint4 *)(w + 4) = *(const uint4 *)(body + 32 * at + 16);
        const uint8_t *h = head + at / 2 * 20;
        scales[0] = *(const uint32_t *)(h + 8 * (at % 2));
        scales[1] = *(const uint32_t *)(h + 8 * (at % 2) + 4);
        uint32_t units = *(const uint32_t *)(h + 16);
        float2 both = __half22float2(*(const __half2 *)&units);
        unit = both.x, min = both.y;
    }
    template <int T>
    __device__ void meet(int g, const Acts<T> &x, float (&acc)[T], const Lookup &) const {
        uint32_t both = scales[g / 2] >> (16 * (g % 2)), mins = both >> 4 & 0x0f0f;
        int first = both & 15, second = both >> 8 & 15;
        // The codes stay where they are in their bytes, 4^g times too large.
        float part = unit * (g == 0 ? 1.f : g == 1 ? 0.25f : g == 2 ? 0.0625f : 0.015625f);
#pragma unroll
        for (int t = 0; t < T; t++) {
            int a = 0, b = 0;
#pragma unroll
            for (int j = 0; j < 4; j++) {
                a = dot4(w[j] & 0x03030303u << (2 * g), x.code[t][j], a);
                b = dot4(w[j + 4] & 0x03030303u << (2 * g), x.code[t][j + 4], b);
            }
            float v = part * (float)(a * first + b * second) - min * (float)dot2(x.sums[t], mins);
            acc[t] += v * x.scale[t];
        }
    }
};

template <>
struct Coded<Q4_K> {
    static constexpr int LANES = 32, GROUPS = 2, HEAD_STEP = 16, MOST = 2;
    static constexpr bool TABLE = false;
    __host__ __device__ static uint32_t body(uint32_t cols) { return cols / 2; }
    __host__ __device__ static uint32_t head(uint32_t cols) { return cols / 16; }
    uint32_t w[8];
    float scale[2], min[2];
    __device__ void load(const uint8_t *body, const uint8_t *head, uint32_t at) {
        *(uint4 *)w = *(const uint4 *)(body + 32 * at);
        *(uint4 *)(w + 4) = *(const uint4 *)(body + 32 * at + 16);
        uint4 h = *(const uint4 *)(head + at / 4 * 16);
        float2 unit = __half22float2(*(const __half2 *)&h.x);
        // Words y, z, w hold bytes s[0..4], s[4..8], s[8..12].
#pragma unroll
        for (int g = 0; g < 2; g++) {
            uint32_t j = at % 4 * 2 + g, shift = 8 * (j & 3);
            uint32_t low = h.y >> shift & 255, high = h.z >> shift & 255, rest = h.w >> shift & 255;
            uint32_t a = j < 4 ? low & 63 : (rest & 15) | (low >> 6 << 4);
            uint32_t b = j < 4 ? high & 63 : (rest >> 4) | (high >> 6 << 4);
            scale[g] = unit.x * (float)a, min[g] = unit.y * (float)b;
        }
    }
    template <int T>
    __device__ void meet(int g, const Acts<T> &x, float (&acc)[T], const Lookup &) const {
#pragma unroll
        for (int t = 0; t < T; t++) {
            int sum = 0;
#pragma unroll
            for (int j = 0; j < 8; j++)
                sum = dot4(w[j] >> (4 * g) & 0x0f0f0f0f, x.code[t][j], sum);
            acc[t] += (scale[g] * (float)sum - min[g] * (float)dot2(x.sums[t], 0x0101)) * x.scale[t];
        }
    }
};

template <>
struct Coded<MXFP4> {
    static constexpr int LANES = 32, GROUPS = 1, HEAD_STEP = 4, MOST = 4;
    static constexpr bool TABLE = false;
    __host__ __device__ static uint32_t body(uint32_t cols) { return cols / 2; }
    __host__ __device__ static uint32_t head(uint32_t cols) { return cols / 32; }
    uint4 v;
    float half_scale;
    __device__ void load(const uint8_t *body, const uint8_t *head, uint32_t unit) {
        v = *(const uint4 *)(body + 16 * unit);
        uint32_t e = head[unit];
        half_scale = __uint_as_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
    }
    template <int T>
    __device__ void meet(int, const Acts<T> &x, float (&acc)[T], const Lookup &) const {
        int sum[T] = {};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            // Twice the values: 0 1 2 3 4 6 8 12 and their negatives, by the low three bits of each
            // nibble, then by the high one.
            uint32_t q = word(v, i), four[2];
#pragma unroll
            for (int k = 0; k < 2; k++) {
                uint32_t places = (q >> (16 * k)) & 0x7777;
                uint32_t above = __byte_perm(0x03020100, 0x0c080604, places);
                uint32_t below = __byte_perm(0xfdfeff00, 0xf4f8fafc, places);
                uint32_t which = 0x3210 | (q >> (16 * k) & 0x8888) >> 1;
                four[k] = __byte_perm(above, below, which);
            }
            uint32_t low = __byte_perm(four[0], four[1], 0x6420);
            uint32_t high = __byte_perm(four[0], four[1], 0x7531);
#pragma unroll
            for (int t = 0; t < T; t++) {
                sum[t] = dot4_signed(low, x.code[t][i], sum[t]);
                sum[t] = dot4_signed(high, x.code[t][i + 4], sum[t]);
            }
        }
#pragma unroll
        for (int t = 0; t < T; t++)
            acc[t] += (float)sum[t] * (half_scale * x.scale[t]);
    }
};
