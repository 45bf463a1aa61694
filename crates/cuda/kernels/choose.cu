// The router's choice for steps of few rows, in one kernel with what else waits for the same
// products: its gathering by expert, the shared expert's SwiGLU, and how the streams will be
// written.
#include "codes.cuh"
#include "halves.cuh"
#include "hyper.cuh"

struct Choice {
    uint32_t *ids;
    float *weights;
    uint32_t *counts;
    const float *logits;
    const Row *rows;
    const uint32_t *fixed; // experts by token; null: the best ones
    const float *bias;
    // Picks by expert, in tiles of up to `tokens`; not wanted if that is nothing.
    uint32_t *token_of;
    float *weight_of;
    uint32_t *place_of;
    Tile *tiles;
    uint32_t *tile_count;
    // The shared expert.
    float *gate;
    const float *up;
    __half *half;
    uint8_t *codes;
    Settle settle;
    uint32_t n, experts, used, tokens, width;
    float scale, limit;
    uint32_t unused;
};

constexpr int CHOOSE_WARPS = 16, CHOOSE_THREADS = 32 * CHOOSE_WARPS, LANE_EXPERTS = 8;

// The chosen expert of a lane, and its weight.
struct Chosen1 {
    uint32_t id;
    float weight;
};

// As `route_row` for scores and keys that are known; each lane has eight neighbours. A warp.
__device__ inline Chosen1 choose_row(const uint32_t *keys, const float *scores, const Choice &in,
                                     uint32_t row) {
    uint32_t lane = threadIdx.x % 32, first = lane * LANE_EXPERTS, own = 0;
    if (in.fixed) {
        if (lane < in.used)
            own = in.fixed[(uint64_t)in.rows[row].token * in.used + lane];
    } else {
        // Keys that there are differ from nothing: they are of numbers above the least.
        uint32_t key[LANE_EXPERTS] = {};
        if (first < in.experts)
#pragma unroll
            for (int i = 0; i < LANE_EXPERTS; i += 4)
                *(uint4 *)(key + i) = *(const uint4 *)(keys + first + i);
#pragma unroll 1
        for (uint32_t j = 0; j < in.used; j++) {
            uint32_t most = 0, at = 0;
            // Of equal keys the first.
#pragma unroll
            for (int i = LANE_EXPERTS - 1; i >= 0; i--)
                if (key[i] >= most)
                    most = key[i], at = i;
            uint32_t best = __reduce_max_sync(~0u, most);
            uint32_t winner = __ffs(__ballot_sync(~0u, most == best)) - 1;
            uint32_t chosen = __shfl_sync(~0u, first + at, winner);
#pragma unroll
            for (int i = 0; i < LANE_EXPERTS; i++)
                if (chosen == first + i)
                    key[i] = 0;
            if (lane == j)
                own = chosen;
        }
    }
    float mine = lane < in.used ? scores[own] : 0, sum = 0;
    for (uint32_t j = 0; j < in.used; j++)
        sum += __shfl_sync(~0u, mine, j);
    return {own, mine / sum * in.scale};
}

// As `gather_picks` for one row, whose picks the lanes of a warp have.
__device__ inline void gather_one(const Choice &in, const Chosen1 &pick) {
    uint32_t lane = threadIdx.x % 32, less = 0, before = 0, same = 0;
    bool mine = lane < in.used;
    for (uint32_t j = 0; j < in.used; j++) {
        uint32_t other = __shfl_sync(~0u, pick.id, j);
        less += other < pick.id;
        same += other == pick.id;
        before += other == pick.id && j < lane;
    }
    uint32_t place = less + before;
    bool head = mine && before % in.tokens == 0;
    uint32_t heads = 0, at = 0;
    for (uint32_t j = 0; j < in.used; j++) {
        bool other = __shfl_sync(~0u, head, j);
        uint32_t there = __shfl_sync(~0u, place, j);
        heads += other;
        at += other && there < place;
    }
    if (mine) {
        in.token_of[place] = 0;
        in.weight_of[place] = pick.weight;
        in.place_of[lane] = place;
    }
    if (head)
        in.tiles[at] = {pick.id, place, min(same - before, in.tokens), 0};
    if (lane == 0)
        *in.tile_count = heads;
}

// Rows go first, all in one block; then the streams' weights, another one; then SwiGLU.
extern "C" __global__ void __launch_bounds__(CHOOSE_THREADS)
    choose(const __grid_constant__ Choice in) {
    in_turn();
    extern __shared__ __align__(128) uint8_t shared[];
    uint32_t t = threadIdx.x, warp = t / 32, lane = t % 32;
    if (blockIdx.x == 1) {
        for (uint32_t row = warp; row < in.n; row += CHOOSE_WARPS)
            settle_row(in.settle, row);
        return;
    }
    if (blockIdx.x) {
        uint32_t i = ((blockIdx.x - 2) * CHOOSE_THREADS + t) * 4;
        if (i >= in.n * in.width)
            return;
        float4 g = *(const float4 *)(in.gate + i), u = *(const float4 *)(in.up + i);
        float4 v = make_float4(swiglu(g.x, u.x, in.limit), swiglu(g.y, u.y, in.limit),
                               swiglu(g.z, u.z, in.limit), swiglu(g.w, u.w, in.limit));
        *(float4 *)(in.gate + i) = v;
        *(uint2 *)(in.half + i) = rounded(bounded4(v));
        Order order = natural(in.width);
        write_codes(in.codes + i / in.width * order.bytes(), order, i % in.width, v);
        return;
    }
    uint32_t *keys = (uint32_t *)shared;
    if (in.experts <= 32 * LANE_EXPERTS && in.experts % LANE_EXPERTS == 0) {
        float *scores = (float *)shared + CHOOSE_WARPS * in.experts;
        for (uint32_t base = 0; base < in.n; base += CHOOSE_WARPS) {
            uint32_t all = min(in.n - base, (uint32_t)CHOOSE_WARPS) * in.experts;
            for (uint32_t i = t; i < all; i += CHOOSE_THREADS) {
                float s = score(in.logits[base * in.experts + i]);
                scores[i] = s;
                keys[i] = ordered(s + (in.bias ? in.bias[i % in.experts] : 0.f));
            }
            __syncthreads();
            uint32_t row = base + warp;
            if (row < in.n) {
                Chosen1 pick = choose_row(keys + warp * in.experts, scores + warp * in.experts, in, row);
                if (lane < in.used) {
                    in.ids[row * in.used + lane] = pick.id;
                    in.weights[row * in.used + lane] = pick.weight;
                }
                if (lane == 0)
                    in.counts[row] = in.used;
                if (in.n == 1 && in.tokens)
                    gather_one(in, pick);
            }
            __syncthreads();
        }
    } else {
        for (uint32_t row = warp; row < in.n; row += CHOOSE_WARPS)
            route_row(in.ids, in.weights, in.counts, in.logits, in.rows, in.fixed, in.bias,
                      in.experts, in.used, in.scale, keys + warp * in.experts, row);
        __syncthreads();
        if (in.n == 1 && in.tokens && warp == 0)
            gather_one(in, lane < in.used ? Chosen1{in.ids[lane], in.weights[lane]} : Chosen1{});
    }
    if (in.n > 1 && in.tokens)
        gather(in.ids, in.weights, in.n, in.used, in.experts, in.tokens, in.token_of, in.weight_of,
               in.place_of, in.tiles, in.tile_count, (uint32_t *)shared);
}
