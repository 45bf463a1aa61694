// Attention: every head of a row over the same latent rows, which are key and value at once.
//
// A warp carries two heads: sixteen channels of each a lane. Rows are decoded into shared memory, a
// tile at a time. With few rows in the plan each row's list is cut into parts, so that the card is
// full; a second kernel joins them.
#include "codes.cuh"
#include "halves.cuh"
#include "seen.cuh"

// The fresh row `number` becomes part of the ring. Of a long run only the last rows stay. A block.
__device__ inline void commit_row(const Row *rows, const Memory &memory, const Place &at,
                                  uint32_t number) {
    Row row = rows[number];
    if (number + memory.ring_rows < row.run_end)
        return;
    const uint32_t *from = (const uint32_t *)(memory.fresh + (uint64_t)number * memory.latent_bytes);
    uint32_t *to = (uint32_t *)ring_row(memory, at, row.slot, row.pos);
    for (uint32_t i = threadIdx.x; i < memory.latent_bytes / 4; i += blockDim.x)
        to[i] = from[i];
}

constexpr int ATTEND_WARPS = 8, WARP_HEADS = 2, BLOCK_HEADS = ATTEND_WARPS * WARP_HEADS,
              TILE_SEEN = 16;

// parts[row][part][head]: largest score and sum of exponentials, then the weighted sum of rows in
// `sums`.
extern "C" __global__ void __launch_bounds__(32 * ATTEND_WARPS)
    attend(float2 *parts, float *sums, const float *q, const Row *rows, Memory memory, Place at,
           uint32_t heads, const uint32_t *picks, const uint32_t *counts, uint32_t picks_width,
           uint32_t draft) {
    in_turn();
    __shared__ float4 tile[TILE_SEEN][HEAD / 4];
    uint32_t number = blockIdx.x, lane = threadIdx.x % 32;
    uint32_t head = blockIdx.y * BLOCK_HEADS + threadIdx.x / 32 * WARP_HEADS;
    Row row = rows[number];
    Seen seen(memory, row, at, draft, picks, counts, picks_width, number);
    uint32_t all = seen.all;
    // Whole tiles a part.
    uint32_t share = ((all + gridDim.z - 1) / gridDim.z + TILE_SEEN - 1) / TILE_SEEN * TILE_SEEN;
    uint32_t begin = min(blockIdx.z * share, all), end = min(begin + share, all);
    float4 query[WARP_HEADS][4], sum[WARP_HEADS][4];
    float top[WARP_HEADS], total[WARP_HEADS];
    for (int h = 0; h < WARP_HEADS; h++) {
        top[h] = -INFINITY;
        total[h] = 0;
        for (int i = 0; i < 4; i++) {
            sum[h][i] = make_float4(0, 0, 0, 0);
            query[h][i] = head + h < heads
                              ? ((const float4 *)(q + ((uint64_t)number * heads + head + h) *
                                                          HEAD))[32 * i + lane]
                              : make_float4(0, 0, 0, 0);
        }
    }
    float scale = 1.f / sqrtf((float)HEAD);
    for (uint32_t base = begin; base < end; base += TILE_SEEN) {
        uint32_t count = min(end - base, (uint32_t)TILE_SEEN);
        __syncthreads();
        for (uint32_t r = threadIdx.x / ROW_THREADS; r < count;
             r += 32 * ATTEND_WARPS / ROW_THREADS) {
            const uint8_t *stored = seen.row(memory, at, row, base + r);
            tile[r][threadIdx.x % ROW_THREADS] =
                read_latent(memory, stored, threadIdx.x % ROW_THREADS);
        }
        __syncthreads();
        for (uint32_t r = 0; r < count; r++) {
            float4 v[4];
#pragma unroll
            for (int i = 0; i < 4; i++)
                v[i] = tile[r][32 * i + lane];
#pragma unroll
            for (int h = 0; h < WARP_HEADS; h++) {
                float s = 0;
#pragma unroll
                for (int i = 0; i < 4; i++)
                    s += query[h][i].x * v[i].x + query[h][i].y * v[i].y + query[h][i].z * v[i].z +
                         query[h][i].w * v[i].w;
                s = warp_sum(s) * scale;
                float higher = fmaxf(top[h], s), shrink = expf(top[h] - higher),
                      p = expf(s - higher);
                top[h] = higher;
                total[h] = total[h] * shrink + p;
#pragma unroll
                for (int i = 0; i < 4; i++) {
                    sum[h][i].x = sum[h][i].x * shrink + p * v[i].x;
                    sum[h][i].y = sum[h][i].y * shrink + p * v[i].y;
                    sum[h][i].z = sum[h][i].z * shrink + p * v[i].z;
                    sum[h][i].w = sum[h][i].w * shrink + p * v[i].w;
                }
            }
        }
    }
    for (int h = 0; h < WARP_HEADS; h++) {
        if (head + h >= heads)
            continue;
        uint64_t part = ((uint64_t)number * gridDim.z + blockIdx.z) * heads + head + h;
        if (lane == 0)
            parts[part] = make_float2(top[h], total[h]);
        for (int i = 0; i < 4; i++)
            ((float4 *)(sums + part * HEAD))[32 * i + lane] = sum[h][i];
    }
}

// Joins the parts of a head with its sink, a logit without a row, and takes the rope of the rows
// back. One block a head. Blocks after those, where there are any, commit a fresh row each to its
// ring, which every part has read by now.
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
    attend_join(float *out, const float2 *parts, const float *sums, const float *sinks,
                const float2 *angles, uint32_t heads, uint32_t count, uint32_t n, const Row *rows,
                Memory memory, Place at, __half *half, uint8_t *codes) {
    in_turn();
    if (blockIdx.x >= n * heads)
        return commit_row(rows, memory, at, blockIdx.x - n * heads);
    uint32_t number = blockIdx.x / heads, head = blockIdx.x % heads, t = threadIdx.x;
    uint64_t first = (uint64_t)number * count * heads + head;
    float top = sinks[head];
    for (uint32_t i = 0; i < count; i++)
        top = fmaxf(top, parts[first + i * heads].x);
    float total = expf(sinks[head] - top);
    float4 sum = make_float4(0, 0, 0, 0);
#pragma unroll 4
    for (uint32_t i = 0; i < count; i++) {
        uint64_t part = first + i * heads;
        if (parts[part].x == -INFINITY)
            continue;
        float share = expf(parts[part].x - top);
        float4 v = ((const float4 *)(sums + part * HEAD))[t];
        total += parts[part].y * share;
        sum = make_float4(sum.x + v.x * share, sum.y + v.y * share, sum.z + v.z * share,
                          sum.w + v.w * share);
    }
    float inverse = 1.f / total;
    sum = make_float4(sum.x * inverse, sum.y * inverse, sum.z * inverse, sum.w * inverse);
    if (t >= PLAIN / 4)
        sum = rotate(
            sum, *(const float4 *)(angles + (uint64_t)number * PAIRS + (4 * t - PLAIN) / 2), true);
    ((float4 *)(out + (uint64_t)blockIdx.x * HEAD))[t] = sum;
    if (half)
        ((uint2 *)(half + (uint64_t)blockIdx.x * HEAD))[t] = rounded(bounded4(sum));
    if (codes) {
        Order order = natural(heads * HEAD);
        write_codes(codes + (uint64_t)number * order.bytes(), order, head * HEAD + 4 * t, sum);
    }
}

extern "C" __global__ void window_commit(const Row *rows, Memory memory, Place at) {
    in_turn();
    commit_row(rows, memory, at, blockIdx.x);
}
