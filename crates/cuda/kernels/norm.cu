// RMS norm of stretches.
#include "common.cuh"

// One block a stretch of `width` values.
extern "C" __global__ void rms_norm(float *out, const float *x, const float *weight, uint32_t width,
                                    float epsilon) {
    in_turn();
    const float *in = x + (uint64_t)blockIdx.x * width;
    float *to = out + (uint64_t)blockIdx.x * width;
    float squares = 0;
    for (uint32_t i = threadIdx.x; i < width; i += blockDim.x)
        squares += in[i] * in[i];
    float scale = 1.f / sqrtf(block_sum(squares) / (float)width + epsilon);
    for (uint32_t i = threadIdx.x; i < width; i += blockDim.x)
        to[i] = in[i] * scale * weight[i];
}
