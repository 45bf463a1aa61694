// The weights of a hyper-connection.
#pragma once
#include "common.cuh"

// Rows of the mix matrix; and their products with the sum of squares.
constexpr int MIX_ROWS = 24, MIX_SUMS = MIX_ROWS + 1;

__device__ inline float reciprocal(float v) {
    float r;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(r) : "f"(v));
    return r;
}

// Which of three scales a product of the mix matrix has: of reading, writing, mixing.
__device__ inline uint32_t mix_scale(uint32_t row) { return row < 4 ? 0 : row < 8 ? 1 : 2; }

// How the streams are written and mixed (`mix`, four and sixteen). One warp, whose lanes `known` is
// the 24 scaled products of; what they are for reading is not used.
__device__ inline void mix_back(float *mix, float known, uint32_t rounds, float epsilon) {
    uint32_t t = threadIdx.x % 32;
    if (t >= 4 && t < 8)
        mix[t - 4] = 2.f * sigmoid(known);
    // Every lane has all sixteen, row after row: exchanges between lanes would take longer.
    float c[STREAMS * STREAMS];
#pragma unroll
    for (int k = 0; k < STREAMS * STREAMS; k++)
        c[k] = __shfl_sync(~0u, known, 8 + k);
#pragma unroll
    for (int r = 0; r < STREAMS; r++) {
        float *v = c + STREAMS * r, top = fmaxf(fmaxf(v[0], v[1]), fmaxf(v[2], v[3]));
#pragma unroll
        for (int k = 0; k < STREAMS; k++)
            v[k] = expf(v[k] - top);
    }
    // Shares of sums over STREAMS values `step` apart, each line's first one `next` after the other's.
    auto share_out = [&](int step, int next, float before, float after) {
#pragma unroll
        for (int line = 0; line < STREAMS; line++) {
            float *v = c + line * next;
            float sum = (v[0] + v[step]) + (v[2 * step] + v[3 * step]);
            float inverse = reciprocal(sum + before);
#pragma unroll
            for (int k = 0; k < STREAMS; k++)
                v[k * step] = v[k * step] * inverse + after;
        }
    };
    share_out(1, STREAMS, 0.f, epsilon);
    share_out(STREAMS, 1, epsilon, 0.f);
#pragma unroll 1
    for (uint32_t round = 1; round < rounds; round++) {
        share_out(1, STREAMS, epsilon, 0.f);
        share_out(STREAMS, 1, epsilon, 0.f);
    }
    if (t == 0)
#pragma unroll
        for (int k = 0; k < STREAMS; k++)
            ((float4 *)mix)[1 + k] = make_float4(c[4 * k], c[4 * k + 1], c[4 * k + 2], c[4 * k + 3]);
}

// The same from the products `raw`, times `share`; and how the streams are read (`pre`, four).
__device__ inline void mix_weights(float *pre, float *mix, const float *raw, float share,
                                   const float *scale, const float *base, uint32_t rounds,
                                   float epsilon) {
    uint32_t t = threadIdx.x % 32;
    float known = t < MIX_ROWS ? raw[t] * share * scale[mix_scale(t)] + base[t] : 0;
    if (t < 4)
        pre[t] = sigmoid(known) + epsilon;
    mix_back(mix, known, rounds, epsilon);
}

// Scaled products of rows' streams whose `mix` is not yet worked out. It takes a while and is not
// wanted before the streams are written, so a kernel on the way there does it beside its work.
struct Settle {
    const float *known;
    float *mix; // null: there is nothing to do
    uint32_t rounds;
    float epsilon;
};

// One row's. A warp.
__device__ inline void settle_row(const Settle &in, uint32_t row) {
    uint32_t t = threadIdx.x % 32;
    if (in.mix)
        mix_back(in.mix + row * 20, t < MIX_ROWS ? in.known[row * MIX_ROWS + t] : 0.f, in.rounds,
                 in.epsilon);
}
