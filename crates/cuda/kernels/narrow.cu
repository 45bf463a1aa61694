// Products of few rows, up to 64, on tensor cores: sixteen rows of a weight a warp or more, each
// weight read once. Weights do not depend on what came before, so a block has its first ones on
// their way before it waits for the kernel before it.
//
// Lanes, groups and windows are those of `tiles.cu`; a row's windows are cut into slices, one a
// warp, whose sums meet in shared memory. Activations are binary16, in order.
#include "parts.cuh"

// Windows kept on their way at a time, by how large they are.
template <class Group>
constexpr int ON_WAY = sizeof(Raw<Group>) <= 16 ? 4 : sizeof(Raw<Group>) <= 40 ? 2 : 1;

// A window of 16 rows meets 8 columns, of which `x` is the lane's; several chains of sums, so that
// none waits for another.
template <int CHAINS, class Group>
__device__ inline void meet(float (&sum)[CHAINS][4], const Raw<Group> &low, const Raw<Group> &high,
                            const __half *x, bool there, const uint2 *grid) {
    uint4 v[4];
#pragma unroll
    for (int i = 0; i < 4; i++)
        v[i] = there ? *(const uint4 *)(x + 8 * i) : make_uint4(0, 0, 0, 0);
#pragma unroll
    for (int i = 0; i < 4; i++) {
        multiply(sum[0], low.at(2 * i, grid), high.at(2 * i, grid), v[i].x, v[i].y);
        multiply(sum[1 % CHAINS], low.at(2 * i + 1, grid), high.at(2 * i + 1, grid), v[i].z,
                 v[i].w);
    }
}

template <int CHAINS>
__device__ inline float joined(const float (&sum)[CHAINS][4], int k) {
    if constexpr (CHAINS == 1)
        return sum[0][k];
    else
        return sum[0][k] + sum[1][k];
}

template <class Group, int TILES>
__device__ void narrow_part(const Part &part, uint32_t n, float *sums) {
    constexpr int U = TILES == 8 ? 1 : ON_WAY<Group>;
    constexpr int CHAINS = TILES == 1 ? 2 : 1;
    const Weight w = part.w;
    uint32_t t = threadIdx.x, warp = t / 32, lane = t % 32, g = lane / 4, q = lane % 4;
    uint32_t groups = w.cols / 32, windows = (w.cols + 127) / 128, all = windows * part.passes;
    uint32_t slices = part.slices, tiles = NARROW_WARPS / slices;
    uint32_t first = (blockIdx.x - part.first) * tiles * 16, row = first + warp / slices * 16;
    uint32_t share = (all + slices - 1) / slices;
    uint32_t from = warp % slices * share, to = min(from + share, all);
    uint64_t low_row = (uint64_t)min(row + g, part.rows - 1) * groups;
    uint64_t high_row = (uint64_t)min(row + g + 8, part.rows - 1) * groups;
    Raw<Group> low[U], high[U];
    auto load = [&](int u, uint32_t window) {
        uint32_t group = min(min(window, all - 1) % windows * 4 + q, groups - 1);
        low[u].load(w, low_row + group);
        high[u].load(w, high_row + group);
    };
#pragma unroll
    for (int u = 0; u < U; u++)
        load(u, from + u);
    after_others();
    uint32_t z = min(row, part.rows - 1) / part.group_rows;
    const __half *x[TILES];
    bool there[TILES];
#pragma unroll
    for (int i = 0; i < TILES; i++) {
        there[i] = 8 * i + g < n;
        x[i] = (const __half *)(part.x + (uint64_t)min(8 * i + g, n - 1) * part.x_stride) +
               z * w.cols;
    }
    float sum[TILES][CHAINS][4] = {};
    for (uint32_t base = from; base < to; base += U) {
#pragma unroll
        for (int u = 0; u < U; u++) {
            uint32_t window = base + u, column = window % windows * 128 + 32 * q;
            if (window >= to)
                break;
            bool inside = column < w.cols;
            column += window / windows * w.cols;
#pragma unroll
            for (int i = 0; i < TILES; i++)
                meet(sum[i], low[u], high[u], x[i] + column, inside && there[i], w.grid);
            if (base + U < to)
                load(u, window + U);
        }
    }
    // sums[warp][column][row]
    float *own = sums + warp * TILES * 128;
#pragma unroll
    for (int i = 0; i < TILES; i++)
#pragma unroll
        for (int k = 0; k < 4; k++)
            own[(8 * i + 2 * q + k % 2) * 16 + g + 8 * (k / 2)] = joined(sum[i], k);
    __syncthreads();
    for (uint32_t i = t; i < tiles * TILES * 128; i += 32 * NARROW_WARPS) {
        uint32_t token = i / 16 % (8 * TILES), tile = i / (TILES * 128);
        uint32_t at = first + tile * 16 + i % 16;
        if (token >= n || at >= part.rows)
            continue;
        float v = 0;
        for (uint32_t s = 0; s < slices; s++)
            v += sums[(tile * slices + s) * TILES * 128 + token * 16 + i % 16];
        part.out[(uint64_t)token * part.rows + at] = v;
        if (part.half)
            part.half[(uint64_t)token * part.rows + at] = __float2half_rn(bounded(v));
    }
}

template <int TILES>
__device__ void narrow(const Parts &parts, float *sums) {
    let_next_begin();
    const Part &part = own_part(parts);
    switch (part.format) {
    case 0: return narrow_part<F32, TILES>(part, parts.n, sums);
    case 1: return narrow_part<F16, TILES>(part, parts.n, sums);
    case 2: return narrow_part<BF16, TILES>(part, parts.n, sums);
    case 3: return narrow_part<Q8_0, TILES>(part, parts.n, sums);
    case 4: return narrow_part<Q2_K, TILES>(part, parts.n, sums);
    case 5: return narrow_part<Q4_K, TILES>(part, parts.n, sums);
    case 6: return narrow_part<IQ2_XXS, TILES>(part, parts.n, sums);
    case 7: return narrow_part<MXFP4, TILES>(part, parts.n, sums);
    }
}

#define NARROW(TILES)                                                                              \
    extern "C" __global__ void __launch_bounds__(32 * NARROW_WARPS, TILES == 1 ? 3 : 2)                             \
        narrow_##TILES(const __grid_constant__ Parts parts) {                                      \
        __shared__ float sums[NARROW_WARPS * TILES * 128];                                         \
        narrow<TILES>(parts, sums);                                                                \
    }
NARROW(1)
NARROW(2) NARROW(4) NARROW(8)

    // Which picks a block carries: of a list of tiles, or one, straight from the router.
    struct Chosen {
    uint32_t expert, start, count;
    __device__ Chosen(const Tile *list, const uint32_t *ids, uint32_t number) {
        if (list) {
            Tile tile = list[number];
            expert = tile.expert, start = tile.start, count = tile.count;
        } else {
            expert = ids[number], start = number, count = 1;
        }
    }
};

// hidden[place] = weight * swiglu(gate x, up x), sixteen rows of both for `slices` warps, for each
// tile of picks (or each pick, where there is no list).
template <class Group>
__device__ void narrow_gated(__half *hidden, const __half *x, uint32_t x_stride, Weight gate,
                             Weight up, const Tile *list, const uint32_t *list_count,
                             const uint32_t *ids, const uint32_t *token_of,
                             const float *weight_of, uint32_t used, float limit, uint32_t slices) {
    __shared__ float sums[NARROW_WARPS][2][128];
    constexpr int U = (ON_WAY<Group> + 1) / 2;
    uint32_t tiles = NARROW_WARPS / slices, blocks = (gate.rows + 16 * tiles - 1) / (16 * tiles);
    uint32_t number = blockIdx.x / blocks;
    if (list && number >= *list_count)
        return;
    Chosen chosen(list, ids, number);
    uint32_t t = threadIdx.x, warp = t / 32, lane = t % 32, g = lane / 4, q = lane % 4;
    uint32_t groups = gate.cols / 32, windows = (gate.cols + 127) / 128;
    uint32_t first_row = blockIdx.x % blocks * tiles * 16, first = first_row + warp / slices * 16;
    uint32_t share = (windows + slices - 1) / slices;
    uint32_t from = min(warp % slices * share, windows), to = min(from + share, windows);
    uint64_t slab = (uint64_t)chosen.expert * gate.rows;
    uint64_t low_row = (slab + min(first + g, gate.rows - 1)) * groups;
    uint64_t high_row = (slab + min(first + g + 8, gate.rows - 1)) * groups;
    for (uint32_t base = 0; base < chosen.count; base += 8) {
        bool there = base + g < chosen.count;
        uint32_t place = chosen.start + min(base + g, chosen.count - 1);
        uint32_t token = token_of ? token_of[place] : place / used;
        const __half *column = x + (uint64_t)token * x_stride;
        float a[2][4] = {}, b[2][4] = {};
        for (uint32_t window = from; window < to; window += U) {
            Raw<Group> raw[U][4];
#pragma unroll
            for (int u = 0; u < U; u++) {
                uint32_t group = min(min(window + u, windows - 1) * 4 + q, groups - 1);
                raw[u][0].load(gate, low_row + group), raw[u][1].load(gate, high_row + group);
                raw[u][2].load(up, low_row + group), raw[u][3].load(up, high_row + group);
            }
#pragma unroll
            for (int u = 0; u < U; u++) {
                uint32_t at = (window + u) * 128 + 32 * q;
                if (window + u >= to)
                    break;
                bool inside = there && at < gate.cols;
                meet(a, raw[u][0], raw[u][1], column + at, inside, gate.grid);
                meet(b, raw[u][2], raw[u][3], column + at, inside, gate.grid);
            }
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t at = (2 * q + k % 2) * 16 + g + 8 * (k / 2);
            sums[warp][0][at] = joined(a, k), sums[warp][1][at] = joined(b, k);
        }
        __syncthreads();
        for (uint32_t i = t; i < 128 * tiles; i += 32 * NARROW_WARPS) {
            uint32_t own = base + i / 16 % 8, row = first_row + i / 128 * 16 + i % 16;
            if (own >= chosen.count || row >= gate.rows)
                continue;
            float v = 0, u = 0;
            for (uint32_t k = i / 128 * slices; k < (i / 128 + 1) * slices; k++)
                v += sums[k][0][i % 128], u += sums[k][1][i % 128];
            float weighted = swiglu(v, u, limit) * weight_of[chosen.start + own];
            hidden[(uint64_t)(chosen.start + own) * gate.rows + row] =
                __float2half_rn(bounded(weighted));
        }
    }
}

// down(hidden[place]) for each tile of picks, to its place in `out`.
template <class Group>
__device__ void narrow_down(float *out, const __half *hidden, Weight w, const Tile *list,
                            const uint32_t *list_count, uint32_t slices) {
    __shared__ float sums[NARROW_WARPS][128];
    constexpr int U = (ON_WAY<Group> + 1) / 2;
    uint32_t tiles = NARROW_WARPS / slices, blocks = (w.rows + 16 * tiles - 1) / (16 * tiles);
    uint32_t number = blockIdx.x / blocks;
    if (number >= *list_count)
        return;
    Chosen chosen(list, nullptr, number);
    uint32_t t = threadIdx.x, warp = t / 32, lane = t % 32, g = lane / 4, q = lane % 4;
    uint32_t groups = w.cols / 32, windows = (w.cols + 127) / 128;
    uint32_t first_row = blockIdx.x % blocks * tiles * 16, first = first_row + warp / slices * 16;
    uint32_t share = (windows + slices - 1) / slices;
    uint32_t from = min(warp % slices * share, windows), to = min(from + share, windows);
    uint64_t slab = (uint64_t)chosen.expert * w.rows;
    uint64_t low_row = (slab + min(first + g, w.rows - 1)) * groups;
    uint64_t high_row = (slab + min(first + g + 8, w.rows - 1)) * groups;
    for (uint32_t base = 0; base < chosen.count; base += 8) {
        bool there = base + g < chosen.count;
        uint32_t place = chosen.start + min(base + g, chosen.count - 1);
        const __half *column = hidden + (uint64_t)place * w.cols;
        float sum[2][4] = {};
        for (uint32_t window = from; window < to; window += U) {
            Raw<Group> low[U], high[U];
#pragma unroll
            for (int u = 0; u < U; u++) {
                uint32_t group = min(min(window + u, windows - 1) * 4 + q, groups - 1);
                low[u].load(w, low_row + group), high[u].load(w, high_row + group);
            }
#pragma unroll
            for (int u = 0; u < U; u++) {
                uint32_t at = (window + u) * 128 + 32 * q;
                if (window + u >= to)
                    break;
                meet(sum, low[u], high[u], column + at, there && at < w.cols, w.grid);
            }
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < 4; k++)
            sums[warp][(2 * q + k % 2) * 16 + g + 8 * (k / 2)] = joined(sum, k);
        __syncthreads();
        for (uint32_t i = t; i < 128 * tiles; i += 32 * NARROW_WARPS) {
            uint32_t own = base + i / 16 % 8, row = first_row + i / 128 * 16 + i % 16;
            if (own >= chosen.count || row >= w.rows)
                continue;
            float v = 0;
            for (uint32_t k = i / 128 * slices; k < (i / 128 + 1) * slices; k++)
                v += sums[k][i % 128];
            out[(uint64_t)(chosen.start + own) * w.rows + row] = v;
        }
    }
}

// y = shared + the sum of down(hidden[pick]) over the picks of one row, sixteen rows a block.
template <class Group>
__device__ void narrow_down_one(float *y, const __half *hidden, const float *shared, Weight w,
                                const uint32_t *ids, uint32_t used) {
    __shared__ float sums[NARROW_WARPS][16];
    constexpr int U = ON_WAY<Group>;
    uint32_t t = threadIdx.x, warp = t / 32, lane = t % 32, g = lane / 4, q = lane % 4;
    uint32_t groups = w.cols / 32, windows = (w.cols + 127) / 128, all = windows * used;
    uint32_t first = blockIdx.x * 16;
    float sum[2][4] = {};
    for (uint32_t base = warp; base < all; base += NARROW_WARPS * U) {
        Raw<Group> low[U], high[U];
#pragma unroll
        for (int u = 0; u < U; u++) {
            uint32_t at = min(base + u * NARROW_WARPS, all - 1);
            uint64_t slab = (uint64_t)ids[at / windows] * w.rows;
            uint32_t group = min(at % windows * 4 + q, groups - 1);
            low[u].load(w, (slab + min(first + g, w.rows - 1)) * groups + group);
            high[u].load(w, (slab + min(first + g + 8, w.rows - 1)) * groups + group);
        }
#pragma unroll
        for (int u = 0; u < U; u++) {
            uint32_t at = base + u * NARROW_WARPS, column = at % windows * 128 + 32 * q;
            if (at >= all)
                break;
            const __half *x = hidden + (uint64_t)(at / windows) * w.cols + column;
            meet(sum, low[u], high[u], x, g == 0 && column < w.cols, w.grid);
        }
    }
    if (q == 0)
        sums[warp][g] = joined(sum, 0), sums[warp][g + 8] = joined(sum, 2);
    __syncthreads();
    if (t < 16 && first + t < w.rows) {
        float v = 0;
        for (int k = 0; k < NARROW_WARPS; k++)
            v += sums[k][t];
        y[first + t] = v + shared[first + t];
    }
}

#define NARROW_EXPERTS(FORMAT)                                                                     \
    extern "C" __global__ void __launch_bounds__(32 * NARROW_WARPS, 3) narrow_gated_##FORMAT(      \
        __half *hidden, const __half *x, uint32_t x_stride, Weight gate, Weight up,                \
        const Tile *list, const uint32_t *list_count, const uint32_t *ids,                         \
        const uint32_t *token_of, const float *weight_of, uint32_t used, float limit,              \
        uint32_t slices) {                                                                         \
        let_next_begin();                                                                          \
        after_others();                                                                            \
        narrow_gated<FORMAT>(hidden, x, x_stride, gate, up, list, list_count, ids, token_of,       \
                             weight_of, used, limit, slices);                                      \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(32 * NARROW_WARPS, 3)                             \
        narrow_down_##FORMAT(float *out, const __half *hidden, Weight w, const Tile *list,         \
                             const uint32_t *list_count, uint32_t slices) {                        \
        let_next_begin();                                                                          \
        after_others();                                                                            \
        narrow_down<FORMAT>(out, hidden, w, list, list_count, slices);                             \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(32 * NARROW_WARPS, 3)                             \
        narrow_down_one_##FORMAT(float *y, const __half *hidden, const float *shared, Weight w,    \
                                 const uint32_t *ids, uint32_t used) {                             \
        let_next_begin();                                                                          \
        after_others();                                                                            \
        narrow_down_one<FORMAT>(y, hidden, shared, w, ids, used);                                  \
    }
NARROW_EXPERTS(F32)
NARROW_EXPERTS(F16) NARROW_EXPERTS(BF16) NARROW_EXPERTS(Q8_0) NARROW_EXPERTS(Q2_K)
    NARROW_EXPERTS(Q4_K) NARROW_EXPERTS(IQ2_XXS) NARROW_EXPERTS(MXFP4)
