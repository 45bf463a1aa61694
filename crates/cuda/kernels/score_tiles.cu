// Scores of index rows for many rows of the plan, on tensor cores. Codes of E2M1 and their scales
// are exact in binary16.
//
// A warp keeps 16 index rows as fragments while the rows of the plan pass.
#include "halves.cuh"
#include "rows.cuh"

constexpr int SCORED_ROWS = 128;

// scores[row][id] for `count` rows from `first_row` on, `tokens` of them a block. Rows that see no more than `keep` need none.
extern "C" __global__ void __launch_bounds__(256)
    score_tiles(float *scores, const __half *q, const float *head_weights, const Row *rows,
                Memory memory, Place at, uint32_t first_row, uint32_t count, uint32_t heads,
                uint32_t width, uint32_t keep, uint32_t tokens) {
    in_turn();
    uint32_t t = threadIdx.x, lane = t % 32, g = lane / 4, quad = lane % 4;
    uint32_t base = blockIdx.x * SCORED_ROWS, own = base + t / 32 * 16;
    uint32_t from = first_row + blockIdx.y * tokens,
             to = min(from + tokens, first_row + count), loaded = ~0u;
    uint4 keys[2][4];
    float scale = 1.f / (sqrtf((float)INDEX) * sqrtf((float)heads));
    for (uint32_t number = from; number < to; number++) {
        Row row = rows[number];
        uint32_t complete = (row.pos + 1) / 4;
        if (complete <= keep || base >= complete)
            continue;
        if (loaded != row.slot) {
            loaded = row.slot;
            // The last of this session's rows here sees most.
            uint32_t last = min(to, row.run_end) - 1, there = (row.pos + last - number + 1) / 4;
#pragma unroll
            for (int tile = 0; tile < 2; tile++) {
                uint32_t id = own + 8 * tile + g;
#pragma unroll
                for (int k = 0; k < 4; k++) {
                    float v[8] = {};
                    if (id < there)
                        read_index(memory, page_row(memory, at, row.slot, id, true), 4 * k + quad,
                                   v);
                    uint2 a = rounded(make_float4(v[0], v[1], v[2], v[3]));
                    uint2 b = rounded(make_float4(v[4], v[5], v[6], v[7]));
                    keys[tile][k] = make_uint4(a.x, a.y, b.x, b.y);
                }
            }
        }
        const __half *query = q + (uint64_t)number * heads * INDEX;
        const float *weights = head_weights + (uint64_t)number * heads;
        float sums[2][2] = {};
        for (uint32_t m = 0; m < heads; m += 16) {
            float score[2][4] = {};
            bool low_there = m + g < heads, high_there = m + g + 8 < heads;
#pragma unroll
            for (int k = 0; k < 4; k++) {
                uint32_t chunk = 32 * k + 8 * quad;
                uint4 zero = make_uint4(0, 0, 0, 0);
                uint4 low = low_there ? *(const uint4 *)(query + (m + g) * INDEX + chunk) : zero;
                uint4 high =
                    high_there ? *(const uint4 *)(query + (m + g + 8) * INDEX + chunk) : zero;
#pragma unroll
                for (int tile = 0; tile < 2; tile++) {
                    multiply(score[tile], make_uint2(low.x, low.y), make_uint2(high.x, high.y),
                             keys[tile][k].x, keys[tile][k].y);
                    multiply(score[tile], make_uint2(low.z, low.w), make_uint2(high.z, high.w),
                             keys[tile][k].z, keys[tile][k].w);
                }
            }
            float a = low_there ? weights[m + g] : 0, b = high_there ? weights[m + g + 8] : 0;
#pragma unroll
            for (int tile = 0; tile < 2; tile++)
#pragma unroll
                for (int k = 0; k < 2; k++)
                    sums[tile][k] +=
                        fmaxf(score[tile][k], 0.f) * a + fmaxf(score[tile][2 + k], 0.f) * b;
        }
#pragma unroll
        for (int tile = 0; tile < 2; tile++)
#pragma unroll
            for (int k = 0; k < 2; k++) {
                float sum = sums[tile][k];
                for (int step = 4; step < 32; step *= 2)
                    sum += __shfl_xor_sync(~0u, sum, step);
                uint32_t id = own + 8 * tile + 2 * quad + k;
                if (g == 0 && id < complete)
                    scores[(uint64_t)(number - first_row) * width + id] = sum * scale;
            }
    }
}
