// Matrix products of many rows on tensor cores: weights are expanded into fragments in registers,
// activations pass through shared memory as binary16, sums are floats.
//
// A warp owns 32 rows of weights and meets all tokens of the tile with them, so every weight is
// expanded once a tile. Along a row it works in windows of 128 values; a lane takes a group of 32
// neighbours, which share a scale in every format. What tensor cores take for neighbours are then
// values of four groups: activations come in that order, `turned`. On Hopper four warps multiply as
// one and read the tokens from shared memory by themselves.
//
// A block of eight warps is as large as registers allow, because what limits large products is how
// often their factors come from L2. Small ones take blocks of four warps and 64 tokens.
#include "halves.cuh"
#include "warpgroup.cuh"

constexpr int WINDOW = 128, TILE_STAGES = 3, WIDE_TOKENS = 128;

// Copies of a table that lanes look up, so that fewer of them meet in a bank.
constexpr int TABLES = BY_WARPGROUP ? 8 : 1;

// Where value `i` of a window stands when turned: lane q's j-th four are 2 q, 2 q + 1, 2 q + 8 and
// 2 q + 9 of the j-th sixteen.
__host__ __device__ constexpr uint32_t turned(uint32_t i) {
    return i % 32 / 4 * 16 + i % 4 / 2 * 8 + i / 32 * 2 + i % 2;
}

// `count` tokens from `start` on, of a tile's TOKENS. GATED: `w` and `up` are the two inward matrices
// of an expert, and what is stored is swiglu(gate, up) times the pick's weight, as binary16.
template <class Group, int TOKENS, int WARPS, bool GATED>
__device__ inline void tiles(void *out, const __half *x, const Weight &w, const Weight &up,
                             uint32_t start, uint32_t count, uint32_t slab, uint32_t x_stride,
                             uint32_t out_stride, const uint32_t *gather, uint32_t group_rows,
                             uint32_t passes, const float *weight_of, float limit) {
    extern __shared__ __align__(1024) uint8_t stages[];
    uint32_t *token_at = (uint32_t *)(stages + TILE_STAGES * TOKENS * 256);
    uint2 *table = (uint2 *)(token_at + TOKENS);
    constexpr int THREADS = 32 * WARPS, SIDES = WARPS / 4, STEP = THREADS / 16;
    uint32_t t = threadIdx.x, lane = t % 32, g = lane / 4, q = lane % 4, z = blockIdx.z;
    // In units of sixteen bytes.
    for (uint32_t i = t; i < count; i += THREADS)
        token_at[i] = (gather ? gather[start + i] : start + i) * (x_stride / 8);
    if (IN_GRID<Group>)
        for (uint32_t i = t; i < 256 * TABLES; i += THREADS)
            table[i] = w.grid[i / TABLES];
    table += lane % TABLES;
    uint32_t groups = w.cols / 32, windows = (w.cols + WINDOW - 1) / WINDOW;
    uint32_t all = windows * passes;
    // A warp's sixteen rows, of both parts of its side's.
    uint32_t first = (blockIdx.x * SIDES + t / 128) * (GATED ? 64 : 128) + t % 128 / 32 * 16;
    uint32_t row[4];
#pragma unroll
    for (int r = 0; r < 4; r++) {
        uint32_t at = first + g + 8 * (r % 2) + (GATED ? 0 : r / 2 * 64);
        row[r] = (slab + z * group_rows + min(at, group_rows - 1)) * groups;
    }
    __syncthreads();
    const uint8_t *column = (const uint8_t *)x + (uint64_t)z * all * (2 * WINDOW) + t % 16 * 16;
    uint32_t place = window_place<TOKENS>(t / 16, t % 16);
    auto fetch = [&](uint32_t window) {
        uint8_t *stage = stages + window % TILE_STAGES * (TOKENS * 256) + place;
        const uint8_t *from = column + window * (2 * WINDOW);
#pragma unroll
        for (int k = 0; k < TOKENS / STEP; k++)
            if (t / 16 + k * STEP < count)
                copy16(stage + k * (STEP * 128), from + token_at[t / 16 + k * STEP] * 16ull);
    };
    // With two passes each window of activations is followed by what rounding left of it.
    auto group_of = [&](uint32_t window) {
        return min(min(window, all - 1) / passes * 4 + q, groups - 1);
    };
    // Values that are plain go to the products as they lie. Those read them until they are waited for, so
    // a quarter is overwritten only then: the last one in the window that wants it.
    Raw<Group> raw[4], next[Raw<Group>::AHEAD ? 4 : 1];
    auto load_quarter = [&](uint32_t group, int i) {
        if constexpr (!Raw<Group>::AHEAD)
#pragma unroll
            for (int r = 0; r < 4; r++)
                raw[r].load_quarter(GATED && r >= 2 ? up : w, row[r] + group, i);
    };
    auto load = [&](Raw<Group>(&raw)[4], uint32_t window) {
        uint32_t group = group_of(window);
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
    if constexpr (Raw<Group>::AHEAD)
        load(next, 0);
    else
        load(raw, 0);
    for (uint32_t window = 0; window < all; window++) {
        const uint8_t *stage = stages + window % TILE_STAGES * (TOKENS * 256);
        uint32_t own = group_of(window), following = group_of(window + 1);
        if constexpr (Raw<Group>::AHEAD) {
#pragma unroll
            for (int r = 0; r < 4; r++)
                raw[r] = next[r];
        }
#pragma unroll
        for (int i = 0; i < 4; i++) {
            uint2 a[4], b[4];
#pragma unroll
            for (int r = 0; r < 4; r++) {
                a[r] = raw[r].template at<TABLES>(2 * i, table);
                b[r] = raw[r].template at<TABLES>(2 * i + 1, table);
            }
            if (i == 0) {
                // What the products before read may be overwritten from here on.
                copies_wait<TILE_STAGES - 2>();
#if BY_WARPGROUP
                copies_for_products();
                products_wait<0>();
#endif
                __syncthreads();
                if (window + TILE_STAGES - 1 < all)
                    fetch(window + TILE_STAGES - 1);
                copies_end();
                // Behind the fence above, which would wait for them.
                if constexpr (Raw<Group>::AHEAD)
                    load(next, window + 1);
                else if (window > 0)
                    load_quarter(own, 3);
            }
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
            if (i > 0)
                load_quarter(following, i - 1);
        }
    }
#if BY_WARPGROUP
    products_wait<0>();
    settled(sums[0]);
    settled(sums[1]);
#endif
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

// A tile of an expert's tokens, or, without a list, of all tokens; half a tile where that is enough.
template <class Group, bool GATED>
__device__ inline void expert_tiles(void *out, const __half *x, const Weight &w, const Weight &up,
                                    uint32_t n, const uint32_t *gather, const Tile *list,
                                    const uint32_t *list_count, uint32_t out_stride,
                                    const float *weight_of, float limit) {
    Tile tile = {0, blockIdx.y * WIDE_TOKENS, 0, 0};
    if (list) {
        if (blockIdx.y >= *list_count)
            return;
        tile = list[blockIdx.y];
    } else {
        tile.count = min(n - tile.start, (uint32_t)WIDE_TOKENS);
    }
    uint32_t slab = tile.expert * w.rows;
    if (tile.count > WIDE_TOKENS / 2)
        tiles<Group, WIDE_TOKENS, 8, GATED>(out, x, w, up, tile.start, tile.count, slab,
                                            whole(w.cols), out_stride, gather, w.rows, 1,
                                            weight_of, limit);
    else
        tiles<Group, WIDE_TOKENS / 2, 8, GATED>(out, x, w, up, tile.start, tile.count, slab,
                                                whole(w.cols), out_stride, gather, w.rows, 1,
                                                weight_of, limit);
}

#define DENSE_TILES(NAME, FORMAT, TOKENS, WARPS)                                                   \
    extern "C" __global__ void __launch_bounds__(32 * WARPS, 8 / WARPS) NAME##_##FORMAT(           \
        float *out, const __half *x, const __grid_constant__ Weight w, uint32_t n,                 \
        uint32_t x_stride, uint32_t out_stride, uint32_t group_rows, uint32_t passes) {            \
        in_turn();                                                                                 \
        uint32_t start = blockIdx.y * TOKENS;                                                      \
        tiles<FORMAT, TOKENS, WARPS, false>(out, x, w, w, start, min(n - start, (uint32_t)TOKENS), \
                                            0, x_stride, out_stride, nullptr, group_rows, passes,  \
                                            nullptr, 0);                                           \
    }
#define TILES(FORMAT)                                                                              \
    DENSE_TILES(tiles, FORMAT, WIDE_TOKENS, 8)                                                     \
    DENSE_TILES(tiles_slim, FORMAT, WIDE_TOKENS / 2, 4)                                            \
    extern "C" __global__ void __launch_bounds__(256, 1)                                           \
        tiles_down_##FORMAT(float *out, const __half *x, const __grid_constant__ Weight w,         \
                            uint32_t out_stride, const Tile *list, const uint32_t *list_count) {   \
        in_turn();                                                                                 \
        expert_tiles<FORMAT, false>(out, x, w, w, 0, nullptr, list, list_count, out_stride,        \
                                    nullptr, 0);                                                   \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(256, 1) tiles_gated_##FORMAT(                     \
        __half *out, const __half *x, const __grid_constant__ Weight gate,                         \
        const __grid_constant__ Weight up, uint32_t n, const uint32_t *gather, const Tile *list,   \
        const uint32_t *list_count, const float *weight_of, float limit) {                         \
        in_turn();                                                                                 \
        expert_tiles<FORMAT, true>(out, x, gate, up, n, gather, list, list_count,                  \
                                   whole(gate.rows), weight_of, limit);                            \
    }
TILES(F32)
TILES(F16) TILES(BF16) TILES(Q8_0) TILES(Q2_K) TILES(Q4_K) TILES(IQ2_XXS) TILES(MXFP4)

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

// Rows of binary16 as floats again, four values a thread.
extern "C" __global__ void from_half(float *out, const __half *half, uint32_t width, uint64_t count,
                                     uint32_t turn) {
    in_turn();
    uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    if (i >= count)
        return;
    uint64_t row = i / width, at = i % width;
    const __half *from = half + row * (turn ? whole(width) : width);
    from += turn ? at / WINDOW * WINDOW + turned(at % WINDOW) : at;
    float2 a = __half22float2(*(const __half2 *)from);
    float2 b = __half22float2(*(const __half2 *)(from + (turn ? 8 : 2)));
    *(float4 *)(out + i) = make_float4(a.x, a.y, b.x, b.y);
}
