// The router: choice and weights of experts.
#include "common.cuh"

__device__ inline float score(float logit) {
    return sqrtf(logit > 20.f ? logit : log1pf(expf(logit)));
}

// Experts of a row: `fixed` names them by token; else the best scores plus `bias` win, best first.
// One warp; `keys` has room for all experts.
__device__ inline void route_row(uint32_t *ids, float *weights, uint32_t *counts,
                                 const float *logits, const Row *rows, const uint32_t *fixed,
                                 const float *bias, uint32_t experts, uint32_t used, float scale,
                                 uint32_t *keys, uint32_t row) {
    uint32_t lane = threadIdx.x % 32;
    logits += (uint64_t)row * experts;
    ids += row * used;
    weights += row * used;
    // Lane j keeps the j-th choice.
    uint32_t own = 0;
    if (fixed) {
        if (lane < used)
            own = fixed[(uint64_t)rows[row].token * used + lane];
    } else {
        for (uint32_t e = lane; e < experts; e += 32)
            keys[e] = ordered(score(logits[e]) + bias[e]);
        for (uint32_t j = 0; j < used; j++) {
            // Larger keys first, then lower numbers.
            uint32_t key = 0, expert = ~0u;
            for (uint32_t e = lane; e < experts; e += 32)
                if (keys[e] > key || expert == ~0u)
                    key = keys[e], expert = e;
            uint32_t best = __reduce_max_sync(~0u, expert == ~0u ? 0 : key);
            uint32_t chosen = __reduce_min_sync(~0u, key == best ? expert : ~0u);
            if (chosen % 32 == lane)
                keys[chosen] = 0;
            if (j == lane)
                own = chosen;
        }
    }
    float mine = lane < used ? score(logits[own]) : 0, sum = 0;
    for (uint32_t j = 0; j < used; j++)
        sum += __shfl_sync(~0u, mine, j);
    if (lane < used) {
        ids[lane] = own;
        weights[lane] = mine / sum * scale;
    }
    if (lane == 0)
        counts[row] = used;
}

// One warp a row.
extern "C" __global__ void route(uint32_t *ids, float *weights, uint32_t *counts,
                                 const float *logits, const Row *rows, const uint32_t *fixed,
                                 const float *bias, uint32_t experts, uint32_t used, float scale) {
    in_turn();
    extern __shared__ uint32_t keys[];
    route_row(ids, weights, counts, logits, rows, fixed, bias, experts, used, scale, keys,
              blockIdx.x);
}
