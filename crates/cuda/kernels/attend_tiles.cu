// Attention on tensor cores: a block carries 64 heads of one row over all it sees, or over a part of
// that when rows are few, to be joined by `attend_join`.
//
// Stored rows are copied into shared memory a tile ahead, then expanded to binary16, in which they
// are exact. A warp owns 16 heads by 16 rows of the scores, then 64 channels of the result for all
// heads.
#include "look.cuh"
#include "seen.cuh"

constexpr int GATHERED = 32, AHEAD_BYTES = GATHERED * 584, LOOK_HEADS = 64;

struct Look {
    uint8_t query[LOOK_HEADS * HEAD * 2], rows[GATHERED * HEAD * 2];
    uint8_t stored[2][AHEAD_BYTES];
    float scores[LOOK_HEADS][GATHERED + 1];
    __half shares[LOOK_HEADS][GATHERED + 8];
    float top[LOOK_HEADS], total[LOOK_HEADS], shrink[LOOK_HEADS];
};

extern "C" __global__ void __launch_bounds__(256, 1)
    attend_tiles(float *out, const float *q, const Row *rows, Memory memory, Place at,
                 uint32_t heads, const uint32_t *picks, const uint32_t *counts,
                 uint32_t picks_width, uint32_t draft, const float *sinks, const float2 *angles,
                 float2 *parts, float *part_sums, const uint32_t *bases) {
    in_turn();
    extern __shared__ __align__(128) uint8_t shared[];
    Look &look = *(Look *)shared;
    uint32_t number = blockIdx.x, t = threadIdx.x, warp = t / 32, lane = t % 32, g = lane / 4,
             quad = lane % 4, first_head = blockIdx.y * LOOK_HEADS;
    Row row = rows[number];
    // Rows of runs that `attend_many` takes.
    if (bases && bases[row.run] != ~0u)
        return;
    Seen seen(memory, row, at, draft, picks, counts, picks_width, number);
    auto fetch = [&](uint32_t tile) {
        uint8_t *to = look.stored[tile % 2];
        for (uint32_t r = warp; r < GATHERED; r += 8) {
            uint32_t i = tile * GATHERED + r;
            if (i >= seen.all)
                break;
            const uint8_t *from = seen.row(memory, at, row, i);
            for (uint32_t c = lane; c < 73; c += 32)
                copy8(to + r * 584 + c * 8, from + c * 8);
        }
    };
    uint32_t tiles = (seen.all + GATHERED - 1) / GATHERED;
    uint32_t share = (tiles + gridDim.z - 1) / gridDim.z;
    uint32_t begin = min(blockIdx.z * share, tiles), end = min(begin + share, tiles);
    uint64_t part = ((uint64_t)number * gridDim.z + blockIdx.z) * heads;
    if (begin == end) {
        if (t < LOOK_HEADS && first_head + t < heads)
            parts[part + first_head + t] = make_float2(-INFINITY, 0);
        return;
    }
    fetch(begin);
    copies_end();
    for (uint32_t i = t; i < LOOK_HEADS * HEAD / 8; i += 256) {
        uint32_t head = i / (HEAD / 8), chunk = i % (HEAD / 8);
        uint2 a = make_uint2(0, 0), b = a;
        if (first_head + head < heads) {
            const float4 *from =
                (const float4 *)(q + ((uint64_t)number * heads + first_head + head) * HEAD +
                                 chunk * 8);
            a = rounded(from[0]), b = rounded(from[1]);
        }
        *(uint4 *)(look.query + look_place(head, chunk)) = make_uint4(a.x, a.y, b.x, b.y);
    }
    if (t < LOOK_HEADS)
        look.top[t] = -INFINITY, look.total[t] = 0;
    float sums[4][8][4] = {};
    float scale = 1.f / sqrtf((float)HEAD);
    for (uint32_t tile = begin; tile < end; tile++) {
        uint32_t count = min(seen.all - tile * GATHERED, (uint32_t)GATHERED);
        if (tile + 1 < end)
            fetch(tile + 1);
        copies_end();
        copies_wait<1>();
        __syncthreads();
        const uint8_t *stored = look.stored[tile % 2];
        for (uint32_t i = t; i < GATHERED * HEAD / 8; i += 256) {
            uint32_t r = i / (HEAD / 8), chunk = i % (HEAD / 8);
            uint4 v = r < count ? expand_chunk(stored + r * 584, chunk) : make_uint4(0, 0, 0, 0);
            *(uint4 *)(look.rows + look_place(r, chunk)) = v;
        }
        __syncthreads();
        {
            float score[2][4] = {};
            uint32_t head = warp % 4 * 16 + g, r = warp / 4 * 16 + g;
#pragma unroll 4
            for (uint32_t k = 0; k < HEAD / 32; k++) {
                uint4 low = *(const uint4 *)(look.query + look_place(head, 4 * k + quad));
                uint4 high = *(const uint4 *)(look.query + look_place(head + 8, 4 * k + quad));
#pragma unroll
                for (int s = 0; s < 2; s++) {
                    uint4 v = *(const uint4 *)(look.rows + look_place(r + 8 * s, 4 * k + quad));
                    multiply(score[s], make_uint2(low.x, low.y), make_uint2(high.x, high.y), v.x,
                             v.y);
                    multiply(score[s], make_uint2(low.z, low.w), make_uint2(high.z, high.w), v.z,
                             v.w);
                }
            }
#pragma unroll
            for (int s = 0; s < 2; s++)
#pragma unroll
                for (int k = 0; k < 4; k++) {
                    uint32_t column = warp / 4 * 16 + 8 * s + 2 * quad + k % 2;
                    look.scores[head + 8 * (k / 2)][column] =
                        column < count ? score[s][k] * scale : -INFINITY;
                }
        }
        __syncthreads();
        bool shrunk;
        {
            // Four threads a head, eight rows each.
            uint32_t head = t / 4, from = t % 4 * 8;
            float v[8], most = -INFINITY;
#pragma unroll
            for (int i = 0; i < 8; i++)
                most = fmaxf(most, v[i] = look.scores[head][from + i]);
            most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
            most = fmaxf(most, __shfl_xor_sync(~0u, most, 2));
            float old = look.top[head], higher = fmaxf(old, most), total = 0;
            float shrink = expf(old - higher);
#pragma unroll
            for (int i = 0; i < 8; i++) {
                __half share = __float2half_rn(expf(v[i] - higher));
                look.shares[head][from + i] = share;
                total += __half2float(share);
            }
            total += __shfl_xor_sync(~0u, total, 1);
            total += __shfl_xor_sync(~0u, total, 2);
            __syncwarp();
            if (t % 4 == 0) {
                look.top[head] = higher;
                look.total[head] = look.total[head] * shrink + total;
                look.shrink[head] = shrink;
            }
            shrunk = __syncthreads_or(shrink != 1.f);
        }
        if (shrunk)
#pragma unroll
            for (int m = 0; m < 4; m++) {
                float low = look.shrink[16 * m + g], high = look.shrink[16 * m + g + 8];
#pragma unroll
                for (int c = 0; c < 8; c++)
                    sums[m][c][0] *= low, sums[m][c][1] *= low, sums[m][c][2] *= high,
                        sums[m][c][3] *= high;
            }
#pragma unroll
        for (int k = 0; k < 2; k++) {
            uint2 low[4], high[4];
#pragma unroll
            for (int m = 0; m < 4; m++) {
                const __half *from = &look.shares[16 * m + g][16 * k + 2 * quad];
                const __half *next = &look.shares[16 * m + g + 8][16 * k + 2 * quad];
                low[m] = make_uint2(*(const uint32_t *)from, *(const uint32_t *)(from + 8));
                high[m] = make_uint2(*(const uint32_t *)next, *(const uint32_t *)(next + 8));
            }
#pragma unroll
            for (int c = 0; c < 4; c++) {
                // Rows 16 k to 16 k + 15 of 16 channels, turned over.
                uint32_t r = 16 * k + lane % 16, chunk = warp * 8 + 2 * c + lane / 16;
                uint4 v = turned(look.rows + look_place(r, chunk));
#pragma unroll
                for (int m = 0; m < 4; m++) {
                    multiply(sums[m][2 * c], low[m], high[m], v.x, v.y);
                    multiply(sums[m][2 * c + 1], low[m], high[m], v.z, v.w);
                }
            }
        }
        __syncthreads();
    }
#pragma unroll
    for (int m = 0; m < 4; m++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            uint32_t head = first_head + 16 * m + g + 8 * half;
            if (head >= heads)
                continue;
            if (parts) {
                if (warp == 0 && quad == 0)
                    parts[part + head] =
                        make_float2(look.top[head - first_head], look.total[head - first_head]);
                float *to = part_sums + (part + head) * HEAD;
#pragma unroll
                for (int c = 0; c < 8; c++)
                    *(float2 *)(to + warp * 64 + c * 8 + 2 * quad) =
                        make_float2(sums[m][c][2 * half], sums[m][c][2 * half + 1]);
                continue;
            }
            float top = look.top[head - first_head], higher = fmaxf(top, sinks[head]);
            float share = expf(top - higher);
            float inverse =
                share / (look.total[head - first_head] * share + expf(sinks[head] - higher));
            float *to = out + ((uint64_t)number * heads + head) * HEAD;
#pragma unroll
            for (int c = 0; c < 8; c++) {
                uint32_t channel = warp * 64 + c * 8 + 2 * quad;
                float a = sums[m][c][2 * half] * inverse, b = sums[m][c][2 * half + 1] * inverse;
                if (warp == PLAIN / 64) {
                    float2 turn = angles[(uint64_t)number * PAIRS + (channel - PLAIN) / 2];
                    float turned = a * turn.x + b * turn.y;
                    b = b * turn.x - a * turn.y;
                    a = turned;
                }
                *(float2 *)(to + channel) = make_float2(a, b);
            }
        }
}
