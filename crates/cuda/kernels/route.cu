// The router: choice and weights of experts.
#include "common.cuh"

__device__ inline float score(float logit) {
    return sqrtf(logit > 20.f ? logit : log1pf(expf(logit)));
}

// One warp a row. `fixed` names the experts by token; else the best scores plus `bias` win, best
// first.
extern "C" __global__ void route(uint32_t *ids, float *weights, uint32_t *counts,
                                 const float *logits, const Row *rows, const uint32_t *fixed,
                                 const float *bias, uint32_t experts, uint32_t used, float scale) {
    extern __shared__ uint32_t keys[];
    uint32_t row = blockIdx.x, lane = threadIdx.x;
    logits += (uint64_t)row * experts;
    ids += row * used;
    weights += row * used;
    if (fixed) {
        for (uint32_t j = lane; j < used; j += 32)
            ids[j] = fixed[(uint64_t)rows[row].token * used + j];
    } else {
        for (uint32_t e = lane; e < experts; e += 32)
            keys[e] = ordered(score(logits[e]) + bias[e]);
        for (uint32_t j = 0; j < used; j++) {
            // Larger keys first, then lower numbers.
            uint64_t best = 0;
            for (uint32_t e = lane; e < experts; e += 32)
                best = max(best, (uint64_t)keys[e] << 32 | (0xffffffffu - e));
            for (int step = 16; step; step >>= 1)
                best = max(best, __shfl_xor_sync(~0u, best, step));
            uint32_t chosen = 0xffffffffu - (uint32_t)best;
            if (chosen % 32 == lane)
                keys[chosen] = 0;
            if (lane == 0)
                ids[j] = chosen;
        }
    }
    __syncwarp();
    if (lane == 0) {
        float sum = 0;
        for (uint32_t j = 0; j < used; j++)
            sum += weights[j] = score(logits[ids[j]]);
        for (uint32_t j = 0; j < used; j++)
            weights[j] = weights[j] / sum * scale;
        counts[row] = used;
    }
}
