// The indexer: scores of index rows, and the best of them.
#include "rows.cuh"

constexpr int SCORE_THREADS = 128;

// Channels 8 i to 8 i + 7 of an index row.
__device__ inline void read_index(const Memory &m, const uint8_t *row, int i, float *out) {
    if (m.packed) {
        uint32_t codes = ((const uint32_t *)row)[i];
        float scale = power(row[INDEX / 2 + i / 4]);
#pragma unroll
        for (int k = 0; k < 8; k++)
            out[k] = from_e2m1(codes >> (4 * k) & 15) * scale;
    } else {
        float4 a = ((const float4 *)row)[2 * i], b = ((const float4 *)row)[2 * i + 1];
        out[0] = a.x, out[1] = a.y, out[2] = a.z, out[3] = a.w, out[4] = b.x, out[5] = b.y,
        out[6] = b.z, out[7] = b.w;
    }
}

// scores[row][id] for the rows `first_row` on; a thread an index row, which it keeps in registers
// while the heads pass. Rows that see no more than `keep` need no scores.
extern "C" __global__ void __launch_bounds__(SCORE_THREADS)
    index_score(float *scores, const float *q, const float *head_weights, const Row *rows,
                Memory memory, Place at, uint32_t first_row, uint32_t heads, uint32_t width,
                uint32_t keep) {
    in_turn();
    extern __shared__ float4 query[];
    uint32_t number = first_row + blockIdx.y;
    Row row = rows[number];
    uint32_t complete = (row.pos + 1) / 4, base = blockIdx.x * SCORE_THREADS;
    if (complete <= keep || base >= complete)
        return;
    const float4 *from = (const float4 *)(q + (uint64_t)number * heads * INDEX);
    for (uint32_t i = threadIdx.x; i < heads * INDEX / 4; i += SCORE_THREADS)
        query[i] = from[i];
    __syncthreads();
    uint32_t id = base + threadIdx.x;
    if (id >= complete)
        return;
    const uint8_t *stored = page_row(memory, at, row.slot, id, true);
    float key[INDEX];
#pragma unroll
    for (int i = 0; i < INDEX / 8; i++)
        read_index(memory, stored, i, key + 8 * i);
    head_weights += (uint64_t)number * heads;
    float score = -0.f;
    for (uint32_t head = 0; head < heads; head++) {
        float a = 0, b = 0, c = 0, d = 0;
#pragma unroll
        for (int i = 0; i < INDEX / 4; i++) {
            float4 v = query[head * (INDEX / 4) + i];
            a += v.x * key[4 * i], b += v.y * key[4 * i + 1], c += v.z * key[4 * i + 2],
                d += v.w * key[4 * i + 3];
        }
        score += fmaxf((a + b) + (c + d), 0.f) * head_weights[head];
    }
    scores[(uint64_t)blockIdx.y * width + id] =
        score * (1.f / (sqrtf((float)INDEX) * sqrtf((float)heads)));
}

constexpr int TOP_THREADS = 1024, TOP_WARPS = TOP_THREADS / 32, TOP_BINS = 2048;

// Visits the scores from `begin` to `end` as keys, STEP neighbouring threads side by side; several
// are asked for at a time, since each takes long to come. `visit` is told of those beyond the end too.
template <int STEP, class Visit>
__device__ inline void each_key(const float *scores, uint32_t begin, uint32_t end, uint32_t own,
                                Visit visit) {
    constexpr int AT_ONCE = 8;
    for (uint32_t base = begin; base < end; base += STEP * AT_ONCE) {
        float v[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            uint32_t i = base + STEP * k + own;
            v[k] = i < end ? scores[i] : 0;
        }
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            uint32_t i = base + STEP * k + own;
            if (base + STEP * k < end)
                visit(i, ordered(v[k]), i < end);
        }
    }
}

// Keeps the best `keep` of each row's scores, in order of their numbers; among equals the lower
// number wins. One block a row: the key of the last one kept is found eleven bits at a time, then
// each warp counts, and places, a stretch of its own.
extern "C" __global__ void __launch_bounds__(TOP_THREADS)
    index_top(uint32_t *ids, uint32_t *counts, const float *scores, const Row *rows,
              uint32_t first_row, uint32_t width, uint32_t stride, uint32_t keep) {
    in_turn();
    __shared__ uint32_t histogram[TOP_BINS], totals[TOP_WARPS], chosen, left, above_of[TOP_WARPS],
        equal_of[TOP_WARPS];
    uint32_t number = first_row + blockIdx.x, t = threadIdx.x, warp = t / 32, lane = t % 32,
             complete = (rows[number].pos + 1) / 4;
    ids += (uint64_t)number * stride;
    if (t == 0)
        counts[number] = min(complete, keep);
    if (complete <= keep) {
        for (uint32_t i = t; i < complete; i += TOP_THREADS)
            ids[i] = i;
        return;
    }
    scores += (uint64_t)blockIdx.x * width;
    uint32_t prefix = 0, wanted = keep;
    for (int shift = 21; shift >= 0; shift = shift == 21 ? 10 : shift == 10 ? 0 : -1) {
        uint32_t bins = shift ? 2048 : 1024, above = shift == 21 ? 32 : shift == 10 ? 21 : 10;
        for (uint32_t i = t; i < bins; i += TOP_THREADS)
            histogram[i] = 0;
        __syncthreads();
        each_key<TOP_THREADS>(scores, 0, complete, t, [&](uint32_t, uint32_t key, bool there) {
            // Counts of integers: the order of these atomics does not matter.
            if (there && (above == 32 || key >> above == prefix))
                atomicAdd(&histogram[key >> shift & (bins - 1)], 1);
        });
        __syncthreads();
        // A thread has two bins, or one; the first thread the highest.
        uint32_t own = bins / TOP_THREADS, top = bins - 1 - t * own;
        uint32_t first = histogram[top], sum = first + (own == 2 ? histogram[top - 1] : 0);
        uint32_t upto = sum;
        for (int step = 1; step < 32; step *= 2) {
            uint32_t other = __shfl_up_sync(~0u, upto, step);
            upto += lane >= step ? other : 0;
        }
        if (lane == 31)
            totals[warp] = upto;
        __syncthreads();
        upto += __reduce_add_sync(~0u, lane < warp ? totals[lane] : 0);
        if (upto >= wanted && upto - sum < wanted) {
            uint32_t need = wanted - (upto - sum);
            bool second = need > first;
            chosen = second ? top - 1 : top;
            left = second ? need - first : need;
        }
        __syncthreads();
        prefix = prefix << (shift ? 11 : 10) | chosen;
        wanted = left;
    }
    // All above `prefix`, and of those equal to it the first `wanted`.
    uint32_t share = (complete + TOP_THREADS - 1) / TOP_THREADS * 32;
    uint32_t begin = min(warp * share, complete), end = min(begin + share, complete);
    uint32_t above = 0, equal = 0;
    each_key<32>(scores, begin, end, lane, [&](uint32_t, uint32_t key, bool there) {
        above += there && key > prefix, equal += there && key == prefix;
    });
    above = __reduce_add_sync(~0u, above), equal = __reduce_add_sync(~0u, equal);
    if (lane == 0)
        above_of[warp] = above, equal_of[warp] = equal;
    __syncthreads();
    above = __reduce_add_sync(~0u, lane < warp ? above_of[lane] : 0);
    equal = __reduce_add_sync(~0u, lane < warp ? equal_of[lane] : 0);
    each_key<32>(scores, begin, end, lane, [&](uint32_t i, uint32_t key, bool there) {
        bool is_above = there && key > prefix, is_equal = there && key == prefix;
        uint32_t lower = (1u << lane) - 1, above_mask = __ballot_sync(~0u, is_above),
                 equal_mask = __ballot_sync(~0u, is_equal);
        uint32_t a = above + __popc(above_mask & lower), e = equal + __popc(equal_mask & lower);
        if (is_above || (is_equal && e < wanted))
            ids[a + min(e, wanted)] = i;
        above += __popc(above_mask), equal += __popc(equal_mask);
    });
}
