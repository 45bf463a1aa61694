// A window of sixteen rows times what of the tokens meets it: codes in integers, binary16 as such.
#pragma once
#include "ring.cuh"

// c += a b of bytes, for 16 rows of a and 8 columns of b, 32 deep. Of these a lane has eight, always
// neighbours: which ones is free as long as a and b agree.
__device__ inline void multiply(int (&c)[4], uint2 low, uint2 high, uint2 b) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(low.x), "r"(high.x), "r"(low.y), "r"(high.y), "r"(b.x), "r"(b.y));
}

__device__ inline uint4 shared16(const uint8_t *at) { return *(const uint4 *)at; }

// sums[token][row], `rows` apart, of results as tensor cores leave them, a column a token.
template <int TOKENS, int TILES>
__device__ inline void store_columns(float *sums, uint32_t rows, const float (&sum)[TILES][4]) {
    uint32_t lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
#pragma unroll
    for (int i = 0; i < TILES; i++)
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t token = 8 * i + 2 * q + k % 2;
            if (token < TOKENS)
                sums[token * rows + g + 8 * (k / 2)] = sum[i][k];
        }
}

// Up to four tokens with codes. A lane's 32 bytes are a block of its row, whose sum has a scale of its
// own: so a column of the other factor is not a token but a token's block, empty for the lanes that
// hold other blocks. Eight columns are two tokens.
template <int TOKENS>
struct Few {
    static constexpr int TILES = (TOKENS + 1) / 2;
    float sum[TILES][2] = {};
    __device__ void meet(const uint8_t *slot, const uint8_t *acts) {
        uint32_t lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
        uint4 low[2], high[2];
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const uint8_t *from = slot + chunk_at(g, 2 * q + k);
            low[k] = shared16(from), high[k] = shared16(from + HIGH_ROWS);
        }
        // Of both rows the scales of two neighbouring blocks, those of the lane's results.
        const uint8_t *scales = slot + SCALES + 8 * g + q % 2 * 4;
        float2 a = __half22float2(*(const __half2 *)scales);
        float2 b = __half22float2(*(const __half2 *)(scales + 64));
#pragma unroll
        for (int i = 0; i < TILES; i++) {
            const uint8_t *x = acts + 2 * i * TOKEN;
            int c[4] = {};
            bool there = q == g % 4 && 2 * i + g / 4 < TOKENS;
#pragma unroll
            for (int k = 0; k < 2; k++) {
                uint4 v = make_uint4(0, 0, 0, 0);
                if (there)
                    v = shared16(x + g / 4 * TOKEN + 32 * q + 16 * k);
                multiply(c, make_uint2(low[k].x, low[k].y), make_uint2(high[k].x, high[k].y),
                         make_uint2(v.x, v.y));
                multiply(c, make_uint2(low[k].z, low[k].w), make_uint2(high[k].z, high[k].w),
                         make_uint2(v.z, v.w));
            }
            // Of one token alone the other columns are nothing, times anything finite.
            const uint8_t *own = TOKENS == 1 ? x : x + q / 2 * TOKEN;
            float2 unit = *(const float2 *)(own + SPAN + q % 2 * 8);
            sum[i][0] += (float)c[0] * (a.x * unit.x) + (float)c[1] * (a.y * unit.y);
            sum[i][1] += (float)c[2] * (b.x * unit.x) + (float)c[3] * (b.y * unit.y);
        }
    }
    // sums[token][row]
    __device__ void store(float *sums, uint32_t rows) {
        uint32_t lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
#pragma unroll
        for (int i = 0; i < TILES; i++)
#pragma unroll
            for (int k = 0; k < 2; k++) {
                float v = sum[i][k] + __shfl_xor_sync(~0u, sum[i][k], 1);
                if (q % 2 == 0 && 2 * i + q / 2 < TOKENS)
                    sums[(2 * i + q / 2) * rows + g + 8 * k] = v;
            }
    }
};

// More tokens with codes: a column each, a block at a time.
template <int TOKENS>
struct Some {
    float sum[TOKENS / 8][4] = {};
    __device__ void meet(const uint8_t *slot, const uint8_t *acts) {
        uint32_t lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
        uint2 low[4], high[4];
        float a[4], b[4];
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const uint8_t *from = slot + chunk_at(g, 2 * k + q / 2) + q % 2 * 8;
            low[k] = *(const uint2 *)from, high[k] = *(const uint2 *)(from + HIGH_ROWS);
        }
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const uint8_t *scales = slot + SCALES + 8 * g + 4 * k;
            float2 u = __half22float2(*(const __half2 *)scales);
            float2 v = __half22float2(*(const __half2 *)(scales + 64));
            a[2 * k] = u.x, a[2 * k + 1] = u.y, b[2 * k] = v.x, b[2 * k + 1] = v.y;
        }
#pragma unroll
        for (int i = 0; i < TOKENS / 8; i++) {
            const uint8_t *x = acts + 8 * i * TOKEN;
            const float *first = (const float *)(x + 2 * q * TOKEN + SPAN);
            const float *second = first + TOKEN / 4;
#pragma unroll
            for (int k = 0; k < 4; k++) {
                int c[4] = {};
                multiply(c, low[k], high[k], *(const uint2 *)(x + g * TOKEN + 32 * k + 8 * q));
                sum[i][0] += (float)c[0] * (a[k] * first[k]);
                sum[i][1] += (float)c[1] * (a[k] * second[k]);
                sum[i][2] += (float)c[2] * (b[k] * first[k]);
                sum[i][3] += (float)c[3] * (b[k] * second[k]);
            }
        }
    }
    __device__ void store(float *sums, uint32_t rows) { store_columns<TOKENS>(sums, rows, sum); }
};

// Binary16, a column a token.
template <int TOKENS>
struct Halves {
    static constexpr int TILES = (TOKENS + 7) / 8;
    float sum[TILES][4] = {};
    __device__ void meet(const uint8_t *slot, const uint8_t *acts) {
        uint32_t lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const uint8_t *from = slot + chunk_at(g, 2 * q + k);
            uint4 low = shared16(from), high = shared16(from + HIGH_ROWS);
#pragma unroll
            for (int i = 0; i < TILES; i++) {
                uint4 v = make_uint4(0, 0, 0, 0);
                if (8 * i + g < TOKENS)
                    v = shared16(acts + (8 * i + g) * TOKEN + 32 * q + 16 * k);
                multiply(sum[i], make_uint2(low.x, low.y), make_uint2(high.x, high.y), v.x, v.y);
                multiply(sum[i], make_uint2(low.z, low.w), make_uint2(high.z, high.w), v.z, v.w);
            }
        }
    }
    __device__ void store(float *sums, uint32_t rows) { store_columns<TOKENS>(sums, rows, sum); }
};
