// The weights of a hyper-connection.
#pragma once
#include "common.cuh"

// What the 24 products `raw`, times `share`, make: how the streams are read (`pre`, four), then how
// they are written and mixed (`mix`, four and sixteen). One warp.
__device__ inline void mix_weights(float *pre, float *mix, const float *raw, float share,
                                   const float *scale, const float *base, uint32_t rounds,
                                   float epsilon) {
    uint32_t t = threadIdx.x % 32, i = t % 16;
    if (t < 4)
        pre[t] = sigmoid(raw[t] * share * scale[0] + base[t]) + epsilon;
    if (t >= 4 && t < 8)
        mix[t - 4] = 2.f * sigmoid(raw[t] * share * scale[1] + base[t]);
    // Lane 4 r + w holds comb[r][w]: lanes 1 and 2 apart share a row, 4 and 8 apart a column.
    auto over = [](float v, int a, int b) {
        v += __shfl_xor_sync(~0u, v, a);
        return v + __shfl_xor_sync(~0u, v, b);
    };
    float v = raw[8 + i] * share * scale[2] + base[8 + i];
    float top = fmaxf(v, __shfl_xor_sync(~0u, v, 1));
    top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
    float e = expf(v - top);
    float c = e / over(e, 1, 2) + epsilon;
    c = c / (over(c, 4, 8) + epsilon);
    for (uint32_t round = 1; round < rounds; round++) {
        c = c / (over(c, 1, 2) + epsilon);
        c = c / (over(c, 4, 8) + epsilon);
    }
    if (t < 16)
        mix[4 + i] = c;
}
