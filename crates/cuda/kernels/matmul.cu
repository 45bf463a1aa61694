// Matrix products. Few rows: each weight is read once and multiplied as it is decoded. Many rows:
// tiles in shared memory.
//
// `gather`, where given, says which row of `x` meets which row of `out`. A weight may be
// block-diagonal: its row groups, along the grid's z, then read neighbouring stretches of `x`.
#include "formats.cuh"

// ROWS weight rows against N rows of `x`, by `blockDim.x` threads; `blockDim.y` such sets a block.
template <class Group, int N, int ROWS>
__device__ void matvec(float *out, const float *x, Weight w, uint32_t n, uint32_t x_stride,
                       uint32_t out_stride, const uint32_t *gather, uint32_t group_rows) {
    __shared__ float parts[8][ROWS * N];
    uint32_t groups = w.cols / 32, z = blockIdx.z;
    uint32_t first = (blockIdx.x * blockDim.y + threadIdx.y) * ROWS;
    const float *in[N];
#pragma unroll
    for (int t = 0; t < N; t++) {
        uint32_t row = min((uint32_t)t, n - 1);
        in[t] = x + (uint64_t)(gather ? gather[row] : row) * x_stride + z * w.cols;
    }
    float sums[ROWS][N] = {};
    if (first < group_rows) {
        for (uint32_t g = threadIdx.x; g < groups; g += blockDim.x) {
            auto group = [&](int r) {
                uint32_t row = min(first + r, group_rows - 1) + z * group_rows;
                return Group(w, (uint64_t)row * groups + g);
            };
            auto feed = [&](const Group &at, float (&sum)[N], int c) {
                float4 v = at.at(c);
#pragma unroll
                for (int t = 0; t < N; t++) {
                    float4 a = *(const float4 *)(in[t] + 32 * g + 4 * c);
                    sum[t] += v.x * a.x + v.y * a.y + v.z * a.z + v.w * a.w;
                }
            };
            if constexpr (ROWS == 4) {
                Group a = group(0), b = group(1), c = group(2), d = group(3);
#pragma unroll
                for (int i = 0; i < 8; i++)
                    feed(a, sums[0], i), feed(b, sums[1], i), feed(c, sums[2], i),
                        feed(d, sums[3], i);
            } else {
                Group a = group(0), b = group(1);
#pragma unroll
                for (int i = 0; i < 8; i++)
                    feed(a, sums[0], i), feed(b, sums[1], i);
            }
        }
    }
    uint32_t warps = blockDim.x / 32, warp = threadIdx.y * warps + threadIdx.x / 32;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
#pragma unroll
        for (int t = 0; t < N; t++) {
            float sum = warp_sum(sums[r][t]);
            if (threadIdx.x % 32 == 0)
                parts[warp][r * N + t] = sum;
        }
    __syncthreads();
    for (uint32_t i = threadIdx.x; i < ROWS * N; i += blockDim.x) {
        uint32_t row = first + i / N, t = i % N;
        if (row >= group_rows || t >= n)
            continue;
        float sum = 0;
        for (uint32_t k = 0; k < warps; k++)
            sum += parts[threadIdx.y * warps + k][i];
        out[(uint64_t)t * out_stride + z * group_rows + row] = sum;
    }
}

// Rows of one expert in the list of gathered rows.
struct Tile {
    uint32_t expert, start, count, unused;
};

constexpr int TILE_ROWS = 128, TILE_TOKENS = 64, TILE_DEPTH = 32;

// TILE_ROWS weight rows against TILE_TOKENS rows of `x`, by 256 threads of eight by four results.
template <class Group>
__device__ void matmul(float *out, const float *x, Weight w, uint32_t n, uint32_t x_stride,
                       uint32_t out_stride, const uint32_t *gather, uint32_t group_rows,
                       const Tile *tiles, const uint32_t *tile_count) {
    __shared__ __align__(16) float ws[TILE_DEPTH][TILE_ROWS + 4], xs[TILE_DEPTH][TILE_TOKENS + 4];
    uint32_t start = blockIdx.y * TILE_TOKENS, count, z = blockIdx.z;
    uint64_t slab = 0;
    if (tiles) {
        if (blockIdx.y >= *tile_count)
            return;
        Tile tile = tiles[blockIdx.y];
        start = tile.start;
        count = tile.count;
        slab = (uint64_t)tile.expert * w.rows;
    } else {
        count = min(n - start, (uint32_t)TILE_TOKENS);
    }
    uint32_t groups = w.cols / 32, t = threadIdx.x, first = blockIdx.x * TILE_ROWS;
    uint32_t own_row = (t / 16) * 8, own_token = (t % 16) * 4;
    uint64_t weight_row = slab + z * group_rows + min(first + t % 128, group_rows - 1);
    const float *in = x;
    if (t >= 128) {
        uint32_t token = min(t % 64, count - 1) + start;
        in = x + (uint64_t)(gather ? gather[token] : token) * x_stride + z * w.cols;
    }
    float sums[8][4] = {};
    for (uint32_t g = 0; g < groups; g++) {
        if (t < 128) {
            Group group(w, weight_row * groups + g);
#pragma unroll
            for (int c = 0; c < 8; c++) {
                float4 v = group.at(c);
                ws[4 * c][t] = v.x, ws[4 * c + 1][t] = v.y, ws[4 * c + 2][t] = v.z,
                       ws[4 * c + 3][t] = v.w;
            }
        } else {
            for (uint32_t i = 0; i < 4; i++) {
                uint32_t c = i * 2 + (t - 128) / 64;
                float4 v = *(const float4 *)(in + 32 * g + 4 * c);
                uint32_t to = t % 64;
                xs[4 * c][to] = v.x, xs[4 * c + 1][to] = v.y, xs[4 * c + 2][to] = v.z,
                       xs[4 * c + 3][to] = v.w;
            }
        }
        __syncthreads();
#pragma unroll 8
        for (int k = 0; k < TILE_DEPTH; k++) {
            float4 lo = *(float4 *)&ws[k][own_row], hi = *(float4 *)&ws[k][own_row + 4];
            float4 a = *(float4 *)&xs[k][own_token];
            float rows[8] = {lo.x, lo.y, lo.z, lo.w, hi.x, hi.y, hi.z, hi.w};
#pragma unroll
            for (int r = 0; r < 8; r++) {
                sums[r][0] += rows[r] * a.x;
                sums[r][1] += rows[r] * a.y;
                sums[r][2] += rows[r] * a.z;
                sums[r][3] += rows[r] * a.w;
            }
        }
        __syncthreads();
    }
    for (int k = 0; k < 4; k++) {
        if (own_token + k >= count)
            continue;
        float *to = out + (uint64_t)(start + own_token + k) * out_stride + z * group_rows;
        for (int r = 0; r < 8; r++)
            if (first + own_row + r < group_rows)
                to[first + own_row + r] = sums[r][k];
    }
}

#define MATVEC(FORMAT, N, ROWS)                                                                    \
    extern "C" __global__ void __launch_bounds__(256)                                              \
        matvec_##FORMAT##_##N(float *out, const float *x, Weight w, uint32_t n, uint32_t x_stride, \
                              uint32_t out_stride, const uint32_t *gather, uint32_t group_rows) {  \
        in_turn();                                                                        \
        matvec<FORMAT, N, ROWS>(out, x, w, n, x_stride, out_stride, gather, group_rows);           \
    }
#define MATMUL(FORMAT)                                                                             \
    MATVEC(FORMAT, 1, 4)                                                                           \
    MATVEC(FORMAT, 2, 4)                                                                           \
    MATVEC(FORMAT, 4, 4)                                                                           \
    MATVEC(FORMAT, 8, 2)                                                                           \
    extern "C" __global__ void __launch_bounds__(256)                                              \
        matmul_##FORMAT(float *out, const float *x, Weight w, uint32_t n, uint32_t x_stride,       \
                        uint32_t out_stride, const uint32_t *gather, uint32_t group_rows,          \
                        const Tile *tiles, const uint32_t *tile_count) {                           \
        in_turn();                                                                        \
        matmul<FORMAT>(out, x, w, n, x_stride, out_stride, gather, group_rows, tiles, tile_count); \
    }
MATMUL(F32)
MATMUL(F16) MATMUL(BF16) MATMUL(Q8_0) MATMUL(Q2_K) MATMUL(Q4_K) MATMUL(IQ2_XXS) MATMUL(MXFP4)
