// Activations as eight-bit codes with a scale for each 32, in the order in which the lanes of a warp
// take them.
//
// The codes are those of the CPU's default arithmetic: the largest magnitude of a group becomes 127,
// rounding goes to the even neighbour, and a group with a NaN or an infinity has NaN for a scale, so
// that whatever is computed with it shows it.
#pragma once
#include "common.cuh"

// How a row of `cols` values lies: `lanes` neighbours take `groups` groups of 32 each, so that
// window after window the first sixteen values of all lanes come first, then the next sixteen. Then
// the scales of the groups, and the sums of codes, of both halves of a group as two int16.
struct Order {
    uint32_t cols, lanes, groups;
    __host__ __device__ uint32_t window() const { return lanes * groups * 32; }
    __host__ __device__ uint32_t codes() const {
        return (cols + window() - 1) / window() * window();
    }
    // Bytes of a row, whole sixteens of them.
    __host__ __device__ uint32_t bytes() const { return (codes() + cols / 4 + 15) / 16 * 16; }
    // Where sixteen values of a lane's unit begin.
    __device__ uint32_t place(uint32_t unit, uint32_t sixteen) const {
        return unit / lanes * window() + (sixteen * lanes + unit % lanes) * 16;
    }
};

// As values follow each other: what products of `dense.cu` take.
__device__ inline Order natural(uint32_t cols) { return {cols, 1, 1}; }

// Values `column` to `column` + 3 of a row become codes. Eight neighbouring lanes have a group, and
// all eight call it.
__device__ inline void write_codes(uint8_t *row, const Order &order, uint32_t column, float4 v) {
    uint32_t mask = 0xffu << (threadIdx.x & 24);
    auto magnitude = [](float x) { return __float_as_uint(x) & 0x7fffffff; };
    uint32_t most = max(max(magnitude(v.x), magnitude(v.y)), max(magnitude(v.z), magnitude(v.w)));
#pragma unroll
    for (int lane = 4; lane; lane >>= 1)
        most = max(most, __shfl_xor_sync(mask, most, lane));
    float largest = __uint_as_float(most), scale = largest / 127.f;
    // Below 2^-100 the reciprocal could overflow.
    bool small = most < 27u << 23, wild = most >= 0x7f800000;
    float inverse = small || wild ? 0.f : 127.f / largest;
    if (small)
        scale = 0;
    if (wild)
        scale = __uint_as_float(0x7fc00000), v = make_float4(0, 0, 0, 0);
    // In the binade of 2^23 the unit in the last place is one, so the adder rounds.
    auto code = [&](float x) {
        return __float_as_int(__fadd_rn(__fmul_rn(x, inverse), 12582912.f)) - 0x4b400000;
    };
    int a = code(v.x), b = code(v.y), c = code(v.z), d = code(v.w), sum = (a + b) + (c + d);
    uint32_t unit = column / (32 * order.groups), at = column % (32 * order.groups);
    *(uint32_t *)(row + order.place(unit, at / 16) + at % 16) =
        (a & 255) | (b & 255) << 8 | (c & 255) << 16 | (uint32_t)d << 24;
    sum += __shfl_xor_sync(mask, sum, 1);
    sum += __shfl_xor_sync(mask, sum, 2);
    int second = __shfl_xor_sync(mask, sum, 4);
    if (threadIdx.x % 8 == 0) {
        float *scales = (float *)(row + order.codes());
        scales[column / 32] = scale;
        ((uint32_t *)scales)[order.cols / 32 + column / 32] =
            (sum & 0xffff) | (uint32_t)second << 16;
    }
}

// Rows of floats as codes, four values a thread. Rows are whole groups, so all lanes of one are here.
extern "C" __global__ void __launch_bounds__(256)
    to_codes(uint8_t *out, const float *x, uint32_t cols, uint32_t rows, uint32_t lanes,
             uint32_t groups) {
    in_turn();
    Order order{cols, lanes, groups};
    uint64_t i = ((uint64_t)blockIdx.x * blockDim.x + threadIdx.x) * 4;
    if (i < (uint64_t)rows * cols)
        write_codes(out + i / cols * order.bytes(), order, i % cols, *(const float4 *)(x + i));
}
