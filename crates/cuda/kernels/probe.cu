// What the card's memory delivers: the yardstick for decoding, which mostly reads weights.
#include "common.cuh"

// Words that no compression makes smaller.
extern "C" __global__ void probe_write(uint4 *words, uint64_t count) {
    in_turn();
    uint64_t step = (uint64_t)gridDim.x * blockDim.x;
    for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        uint64_t x = (i + 1) * 0x9E3779B97F4A7C15ull, y = (x ^ x >> 29) * 0xBF58476D1CE4E5B9ull;
        words[i] = make_uint4((uint32_t)x, (uint32_t)(x >> 32), (uint32_t)y, (uint32_t)(y >> 32));
    }
}

// Reads all of them, eight loads on their way in each thread. What comes out is their exclusive
// sum, a word a thread, so that nothing can be left out.
extern "C" __global__ void probe_read(uint32_t *sums, const uint4 *words, uint64_t count) {
    in_turn();
    constexpr int DEEP = 8;
    uint64_t step = (uint64_t)gridDim.x * blockDim.x;
    uint64_t thread = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    uint32_t sum = 0;
    for (uint64_t i = thread; i < count; i += DEEP * step) {
        uint4 parts[DEEP];
#pragma unroll
        for (int part = 0; part < DEEP; part++)
            parts[part] = i + part * step < count ? words[i + part * step] : make_uint4(0, 0, 0, 0);
#pragma unroll
        for (int part = 0; part < DEEP; part++)
            sum ^= parts[part].x ^ parts[part].y ^ parts[part].z ^ parts[part].w;
    }
    sums[thread] = sum;
}
