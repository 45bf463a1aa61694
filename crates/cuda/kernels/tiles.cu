// Matrix products of many rows on tensor cores: weights are expanded into fragments in registers,
// activations pass through shared memory as binary16, sums are floats.
//
// A warp owns 32 rows of weights and meets all tokens of the tile with them, so every weight is
// expanded once a tile. Along a row it works in windows of 128 values; a lane takes a group of 32
// neighbours, which share a scale in every format. What tensor cores take for neighbours are then
// values of four groups: activations come in that order, `turned`. On Hopper four warps multiply as
// one and read the tokens from shared memory by themselves.
#include "halves.cuh"
#include "warpgroup.cuh"

constexpr int WINDOW = 128, TILE_WARPS = 4, TILE_STAGES = 3;

// Where value `i` of a window stands when turned: lane q's j-th four are 2 q, 2 q + 1, 2 q + 8 and
// 2 q + 9 of the j-th sixteen.
__host__ __device__ constexpr uint32_t turned(uint32_t i) {
    return i % 32 / 4 * 16 + i % 4 / 2 * 8 + i / 32 * 2 + i % 2;
}

// GATED: `w` and `up` are the two inward matrices of an expert, and what is stored is
// swiglu(gate, up) times the pick's weight, as binary16.
template <class Group, int TOKENS, bool GATED>
__device__ void tiles(void *out, const __half *x, Weight w, Weight up, uint32_t n,
                      uint32_t x_stride, uint32_t out_stride, const uint32_t *gather,
                      uint32_t group_rows, const Tile *list, const uint32_t *list_count,
                      uint32_t passes, const float *weight_of, float limit) {
    extern __shared__ __align__(1024) uint8_t stages[];
    __shared__ uint32_t token_row[TOKENS];
    __shared__ uint2 grid[256];
    constexpr int ROWS = TILE_WARPS * (GATED ? 16 : 32);
    uint32_t t = threadIdx.x, lane = t % 32, g = lane / 4, q = lane % 4, z = blockIdx.z;
    uint32_t start = blockIdx.y * TOKENS, count;
    uint64_t slab = 0;
    if (list) {
        if (blockIdx.y >= *list_count)
            return;
        Tile tile = list[blockIdx.y];
        start = tile.start;
        count = tile.count;
        slab = (uint64_t)tile.expert * w.rows;
    } else {
        count = min(n - start, (uint32_t)TOKENS);
    }
    for (uint32_t i = t; i < TOKENS; i += 32 * TILE_WARPS) {
        uint32_t token = start + min(i, count - 1);
        token_row[i] = gather ? gather[token] : token;
    }
    if (IN_GRID<Group>)
        for (uint32_t i = t; i < 256; i += 32 * TILE_WARPS)
            grid[i] = w.grid[i];
    uint32_t groups = w.cols / 32, windows = (w.cols + WINDOW - 1) / WINDOW;
    uint32_t all = windows * passes;
    uint32_t first = blockIdx.x * ROWS + t / 32 * 16;
    uint64_t row[4];
#pragma unroll
    for (int r = 0; r < 4; r++) {
        uint32_t at = first + g + 8 * (r % 2) + (GATED ? 0 : r / 2 * 64);
        row[r] = (slab + z * group_rows + min(at, group_rows - 1)) * groups;
    }
    __syncthreads();
    auto fetch = [&](uint32_t window) {
        uint8_t *stage = stages + window % TILE_STAGES * TOKENS * 256;
        uint32_t chunk = t % 16, column = z * windows + window % windows;
        column = (column * passes + window / windows) * WINDOW + chunk * 8;
        for (uint32_t i = t / 16; i < TOKENS; i += 2 * TILE_WARPS)
            copy16(stage + window_place<TOKENS>(i, chunk),
                   x + (uint64_t)token_row[i] * x_stride + column);
    };
    auto load = [&](Raw<Group>(&raw)[4], uint32_t window) {
        uint32_t group = min(window % windows * 4 + q, groups - 1);
#pragma unroll
        for (int r = 0; r < 4; r++)
            raw[r].load(GATED && r >= 2 ? up : w, row[r] + group);
    };
    float sums[2][TOKENS / 8][4] = {};
    for (uint32_t window = 0; window < TILE_STAGES - 1; window++) {
        if (window < all)
            fetch(window);
        copies_end();
    }
    Raw<Group> now[4], next[4];
    if (Raw<Group>::AHEAD)
        load(next, 0);
    for (uint32_t window = 0; window < all; window++) {
        copies_wait<TILE_STAGES - 2>();
#if BY_WARPGROUP
        copies_for_products();
#endif
        __syncthreads();
        if (window + TILE_STAGES - 1 < all)
            fetch(window + TILE_STAGES - 1);
        copies_end();
        if (Raw<Group>::AHEAD) {
#pragma unroll
            for (int r = 0; r < 4; r++)
                now[r] = next[r];
            load(next, min(window + 1, all - 1));
        } else {
            load(now, window);
        }
        const uint8_t *stage = stages + window % TILE_STAGES * TOKENS * 256;
#pragma unroll
        for (int i = 0; i < 4; i++) {
            uint2 a[4], b[4];
#pragma unroll
            for (int r = 0; r < 4; r++)
                a[r] = now[r].at(2 * i, grid), b[r] = now[r].at(2 * i + 1, grid);
#if BY_WARPGROUP
            products_begin();
            multiply_all(sums[0], a[0], a[1], describe<TOKENS>(stage, 2 * i));
            multiply_all(sums[1], a[2], a[3], describe<TOKENS>(stage, 2 * i));
            multiply_all(sums[0], b[0], b[1], describe<TOKENS>(stage, 2 * i + 1));
            multiply_all(sums[1], b[2], b[3], describe<TOKENS>(stage, 2 * i + 1));
            products_end();
            products_wait<1>();
#else
#pragma unroll
            for (int tokens = 0; tokens < TOKENS / 8; tokens++) {
                uint32_t token = tokens * 8 + g;
                auto two = [&](int eight) {
                    return *(const uint32_t *)(stage + window_place<TOKENS>(token, 4 * i + eight) +
                                               4 * q);
                };
                multiply(sums[0][tokens], a[0], a[1], two(0), two(1));
                multiply(sums[1][tokens], a[2], a[3], two(0), two(1));
                multiply(sums[0][tokens], b[0], b[1], two(2), two(3));
                multiply(sums[1][tokens], b[2], b[3], two(2), two(3));
            }
#endif
        }
#if BY_WARPGROUP
        products_wait<0>();
#endif
    }
#pragma unroll
    for (int tokens = 0; tokens < TOKENS / 8; tokens++)
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t token = tokens * 8 + 2 * q + k % 2;
            if (token >= count)
                continue;
            uint64_t to = (uint64_t)(start + token) * out_stride + z * group_rows;
#pragma unroll
            for (int part = 0; part < (GATED ? 1 : 2); part++) {
                uint32_t at = first + g + 8 * (k / 2) + 64 * part;
                if (at >= group_rows)
                    continue;
                if (GATED) {
                    float v = swiglu(sums[0][tokens][k], sums[1][tokens][k], limit);
                    v *= weight_of ? weight_of[start + token] : 1.f;
                    ((__half *)out)[to + at / 128 * 128 + turned(at % 128)] = __float2half_rn(bounded(v));
                } else {
                    ((float *)out)[to + at] = sums[part][tokens][k];
                }
            }
        }
}

// Values of a row of binary16 that is turned.
__device__ inline uint32_t whole(uint32_t cols) { return (cols + WINDOW - 1) / WINDOW * WINDOW; }

#define TILES(FORMAT, TOKENS, BLOCKS)                                                              \
    extern "C" __global__ void __launch_bounds__(32 * TILE_WARPS, BLOCKS) tiles_##FORMAT(          \
        float *out, const __half *x, Weight w, uint32_t n, uint32_t x_stride, uint32_t out_stride, \
        const uint32_t *gather, uint32_t group_rows, uint32_t passes) {                            \
        in_turn();                                                                        \
        tiles<FORMAT, TOKENS, false>(out, x, w, w, n, x_stride, out_stride, gather, group_rows,    \
                                     nullptr, nullptr, passes, nullptr, 0);                        \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(32 * TILE_WARPS, 2)                               \
        tiles_down_##FORMAT(float *out, const __half *x, Weight w, uint32_t out_stride,            \
                            const Tile *list, const uint32_t *list_count) {                        \
        in_turn();                                                                        \
        tiles<FORMAT, TILE_TOKENS, false>(out, x, w, w, 0, whole(w.cols), out_stride, nullptr, w.rows, \
                                          list, list_count, 1, nullptr, 0);                        \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(32 * TILE_WARPS, 2) tiles_gated_##FORMAT(         \
        __half *out, const __half *x, Weight gate, Weight up, uint32_t n, const uint32_t *gather,  \
        const Tile *list, const uint32_t *list_count, const float *weight_of, float limit) {       \
        in_turn();                                                                        \
        tiles<FORMAT, TILE_TOKENS, true>(out, x, gate, up, n, whole(gate.cols), whole(gate.rows), gather, \
                                         gate.rows, list, list_count, 1, weight_of, limit);        \
    }
TILES(F32, 64, 2)
TILES(F16, 64, 2) TILES(BF16, 64, 2) TILES(Q8_0, 128, 2) TILES(Q2_K, 64, 2) TILES(Q4_K, 64, 2)
    TILES(IQ2_XXS, 64, 2) TILES(MXFP4, 64, 2)

    // Rows of floats as binary16. `turned` is for tiles: windows of 128 values in the order that
    // they want them, the last one filled with zeros; with two passes each window is followed by
    // what rounding left of it. Otherwise the remainders follow each row.
    extern "C" __global__ void to_half(__half *out, const float *x, uint32_t width, uint64_t count,
                                       uint32_t passes, uint32_t turn) {
    in_turn();
    uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    uint32_t wide = turn ? (width + WINDOW - 1) / WINDOW * WINDOW : width;
    uint64_t row = i / wide, at = i % wide;
    if (row * width >= count)
        return;
    float4 v = at < width ? bounded4(*(const float4 *)(x + row * width + at)) : float4{};
    uint2 high = rounded(v), low = remainder(v, high);
    if (!turn) {
        __half *to = out + row * width * passes + at;
        *(uint2 *)to = high;
        if (passes == 2)
            *(uint2 *)(to + width) = low;
        return;
    }
    // The four stand in two places, two neighbours each.
    __half *to = out + (row * wide + at / WINDOW * WINDOW) * passes + turned(at % WINDOW);
    *(uint32_t *)to = high.x;
    *(uint32_t *)(to + 8) = high.y;
    if (passes == 2) {
        *(uint32_t *)(to + WINDOW) = low.x;
        *(uint32_t *)(to + WINDOW + 8) = low.y;
    }
}
