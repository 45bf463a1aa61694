// The beginning of a step: angles, token rows, streams.
#include "formats.cuh"

// (cos, sin) of every pair of every row, for both rotary tables. Angles reach a million radians:
// hence double.
extern "C" __global__ void angles(float2 *out, const Row *rows, uint32_t n,
                                  const float *frequencies) {
    in_turn();
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n * 2 * PAIRS)
        return;
    uint32_t table = i / (n * PAIRS), row = i / PAIRS % n, pair = i % PAIRS;
    double s, c;
    sincos((double)((float)rows[row].pos * frequencies[table * PAIRS + pair]), &s, &c);
    out[i] = make_float2((float)c, (float)s);
}

template <class Group>
__device__ void embed(float *x, Weight w, const Row *rows) {
    uint32_t groups = w.cols / 32, row = blockIdx.y;
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= groups)
        return;
    Group group(w, (uint64_t)rows[row].token * groups + i);
    float4 *out = (float4 *)(x + (uint64_t)row * w.cols + 32 * i);
#pragma unroll
    for (int c = 0; c < 8; c++)
        out[c] = group.at(c);
}

#define EMBED(FORMAT)                                                                              \
    extern "C" __global__ void embed_##FORMAT(float *x, Weight w, const Row *rows) {               \
        in_turn();                                                                        \
        embed<FORMAT>(x, w, rows);                                                                 \
    }
EMBED(F32)
EMBED(F16) EMBED(BF16) EMBED(Q8_0) EMBED(Q2_K) EMBED(Q4_K) EMBED(IQ2_XXS) EMBED(MXFP4)

    extern "C" __global__ void spread(float *streams, const float *x, uint32_t width) {
    in_turn();
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= width)
        return;
    float value = x[(uint64_t)blockIdx.y * width + i];
    for (int s = 0; s < STREAMS; s++)
        streams[((uint64_t)blockIdx.y * STREAMS + s) * width + i] = value;
}

extern "C" __global__ void add(float *streams, const float *more, uint64_t count) {
    in_turn();
    uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count)
        streams[i] += more[i];
}
