// Scores of index rows for many rows of a prompt, on tensor cores.
//
// A warp keeps 16 index rows as fragments, a block 256, while the queries of rows of the plan pass
// through shared memory, 64 heads of one row at a time. While the products of one are made, the
// scores of the one before are summed over its heads.
#include "halves.cuh"
#include "rows.cuh"
#include "warpgroup.cuh"

constexpr int SCORE_KEYS = 256, ASK_STAGES = 4, ASK_HEADS = 64;

struct Asked {
    uint8_t query[ASK_STAGES][ASK_HEADS * INDEX * 2];
    float weights[ASK_STAGES][ASK_HEADS];
};

// Channels 8 chunk + 2 quad and the one after it of an index row.
__device__ inline uint32_t index_pair(const Memory &m, const uint8_t *row, int chunk, int quad) {
    if (!m.packed) {
        float2 v = ((const float2 *)row)[4 * chunk + quad];
        return bits(__floats2half2_rn(v.x, v.y));
    }
    uint32_t codes = row[4 * chunk + quad];
    float scale = power(row[INDEX / 2 + chunk / 4]);
    return bits(
        __floats2half2_rn(from_e2m1(codes & 15) * scale, from_e2m1(codes >> 4) * scale));
}

// scores[row][id] for `count` rows from `first_row` on, `tokens` of them a block. Rows that see no
// more than `keep` need none.
extern "C" __global__ void __launch_bounds__(512, 1)
    score_many(float *scores, const __half *q, const float *head_weights, const Row *rows,
               Memory memory, Place at, uint32_t first_row, uint32_t count, uint32_t heads,
               uint32_t width, uint32_t keep, uint32_t tokens) {
    in_turn();
    extern __shared__ __align__(1024) uint8_t stages[];
    Asked &asked = *(Asked *)stages;
    uint32_t t = threadIdx.x, lane = t % 32, g = lane / 4, quad = lane % 4;
    uint32_t base = blockIdx.x * SCORE_KEYS, own = base + t / 32 * 16;
    uint32_t from = first_row + blockIdx.y * tokens, to = min(from + tokens, first_row + count);
    bool wanted = false;
    for (uint32_t i = from + t; i < to; i += blockDim.x) {
        uint32_t complete = (rows[i].pos + 1) / 4;
        wanted |= complete > keep && base < complete;
    }
    if (!__syncthreads_or(wanted))
        return;
    float scale = 1.f / (sqrtf((float)INDEX) * sqrtf((float)heads));
    uint32_t turns = (heads + ASK_HEADS - 1) / ASK_HEADS;
    // Rows of one session at a time: they share index rows.
    for (uint32_t begin = from, end; begin < to; begin = end) {
        Row row = rows[begin];
        end = min(to, row.run_end);
        // The last of them sees most.
        uint32_t there = (row.pos + end - begin) / 4;
        uint2 low[8], high[8];
#pragma unroll
        for (int r = 0; r < 2; r++) {
            uint32_t id = own + 8 * r + g;
            const uint8_t *key =
                id < there ? page_row(memory, at, row.slot, id, true) : nullptr;
#pragma unroll
            for (int s = 0; s < 8; s++) {
                uint2 v = make_uint2(0, 0);
                if (key)
                    v = make_uint2(index_pair(memory, key, 2 * s, quad),
                                   index_pair(memory, key, 2 * s + 1, quad));
                (r ? high : low)[s] = v;
            }
        }
        uint32_t all = (end - begin) * turns;
        auto fetch = [&](uint32_t i) {
            uint32_t token = begin + i / turns, first = i % turns * ASK_HEADS, chunk = t % 16;
            const __half *query = q + (uint64_t)token * heads * INDEX;
            for (uint32_t head = t / 16; head < ASK_HEADS; head += 32) {
                uint32_t known = min(first + head, heads - 1);
                copy16_or_none(asked.query[i % ASK_STAGES] + window_place<ASK_HEADS>(head, chunk),
                               query + known * INDEX + chunk * 8, first + head < heads);
            }
            if (t < ASK_HEADS)
                copy4_or_none(&asked.weights[i % ASK_STAGES][t],
                              head_weights + (uint64_t)token * heads + min(first + t, heads - 1),
                              first + t < heads);
        };
        float sum[2] = {};
        // Products of turn `i`, while those of the turn before end.
        auto issue = [&](uint32_t i, float(&now)[8][4]) {
            copies_wait<1>();
#if BY_WARPGROUP
            copies_for_products();
#endif
            __syncthreads();
            const uint8_t *query = asked.query[i % ASK_STAGES];
#if BY_WARPGROUP
            products_begin();
            multiply_first(now, low[0], high[0], describe<ASK_HEADS>(query, 0));
#pragma unroll
            for (int s = 1; s < 8; s++)
                multiply_all(now, low[s], high[s], describe<ASK_HEADS>(query, s));
            products_end();
#else
#pragma unroll
            for (int j = 0; j < 8; j++) {
                now[j][0] = now[j][1] = now[j][2] = now[j][3] = 0;
#pragma unroll
                for (int s = 0; s < 8; s++) {
                    auto two = [&](int chunk) {
                        return *(const uint32_t *)(query +
                                                   window_place<ASK_HEADS>(8 * j + g, chunk) +
                                                   4 * quad);
                    };
                    multiply(now[j], low[s], high[s], two(2 * s), two(2 * s + 1));
                }
            }
#endif
            if (i + 2 < all)
                fetch(i + 2);
            copies_end();
#if BY_WARPGROUP
            products_wait<1>();
#endif
        };
        auto finish = [&](uint32_t i, float(&score)[8][4]) {
#if BY_WARPGROUP
            settled(score);
#endif
            const float *weights = asked.weights[i % ASK_STAGES] + 2 * quad;
#pragma unroll
            for (int j = 0; j < 8; j++) {
                float2 w = *(const float2 *)(weights + 8 * j);
                sum[0] += fmaxf(score[j][0], 0.f) * w.x + fmaxf(score[j][1], 0.f) * w.y;
                sum[1] += fmaxf(score[j][2], 0.f) * w.x + fmaxf(score[j][3], 0.f) * w.y;
            }
            if (i >= all || (i + 1) % turns)
                return;
            uint32_t number = begin + i / turns, complete = (row.pos + number - begin + 1) / 4;
#pragma unroll
            for (int r = 0; r < 2; r++) {
                sum[r] += __shfl_xor_sync(~0u, sum[r], 1);
                sum[r] += __shfl_xor_sync(~0u, sum[r], 2);
                uint32_t id = own + 8 * r + g;
                if (quad == r && id < complete)
                    scores[(uint64_t)(number - first_row) * width + id] = sum[r] * scale;
                sum[r] = 0;
            }
        };
        for (uint32_t i = 0; i < 2; i++) {
            if (i < all)
                fetch(i);
            copies_end();
        }
        // Four at a time, because the compiler follows no products around a loop's end; what follows
        // the last turn is of nothing.
        float even[8][4], odd[8][4];
        for (uint32_t i = 0; i < all; i += 4) {
            issue(i, even);
            issue(i + 1, odd);
            finish(i, even);
            issue(i + 2, even);
            finish(i + 1, odd);
            issue(i + 3, odd);
            finish(i + 2, even);
#if BY_WARPGROUP
            products_wait<0>();
#endif
            finish(i + 3, odd);
        }
        copies_wait<0>();
        __syncthreads();
    }
}
