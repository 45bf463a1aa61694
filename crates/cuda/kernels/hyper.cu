// Hyper-connections: how the four residual streams are read, written and mixed.
#include "hyper.cuh"

__device__ float inverse_rms(const float *x, uint32_t width, float epsilon) {
    float squares = 0;
    for (uint32_t i = threadIdx.x; i < width; i += blockDim.x)
        squares += x[i] * x[i];
    return 1.f / sqrtf(block_sum(squares) / (float)width + epsilon);
}

__device__ void collapse(float *x, const float *streams, const float *weights, uint32_t width) {
    for (uint32_t i = threadIdx.x; i < width; i += blockDim.x)
        x[i] = weights[0] * streams[i] + weights[1] * streams[width + i] +
               weights[2] * streams[2 * width + i] + weights[3] * streams[3 * width + i];
}

// One block a row; `raw` holds the 24 products of the mix matrix with the row's streams.
extern "C" __global__ void hyper_enter(float *x, float *mix, const float *streams, const float *raw,
                                       const float *scale, const float *base, uint32_t width,
                                       uint32_t rounds, float norm_epsilon, float epsilon) {
    in_turn();
    __shared__ float pre[STREAMS];
    uint64_t row = blockIdx.x;
    streams += row * STREAMS * width;
    raw += row * 24;
    mix += row * 20;
    float share = inverse_rms(streams, STREAMS * width, norm_epsilon);
    if (threadIdx.x < 32)
        mix_weights(pre, mix, raw, share, scale, base, rounds, epsilon);
    __syncthreads();
    collapse(x + row * width, streams, pre, width);
}

extern "C" __global__ void hyper_leave(float *streams, const float *y, const float *mix,
                                       uint32_t width) {
    in_turn();
    uint64_t row = blockIdx.y;
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= width)
        return;
    streams += row * STREAMS * width + i;
    mix += row * 20;
    float value = y[row * width + i], old[STREAMS];
    for (int s = 0; s < STREAMS; s++)
        old[s] = streams[(uint64_t)s * width];
    for (int s = 0; s < STREAMS; s++) {
        float mixed = 0;
        for (int j = 0; j < STREAMS; j++)
            mixed += mix[4 + 4 * j + s] * old[j];
        streams[(uint64_t)s * width] = mix[s] * value + mixed;
    }
}

// One block an output row; `raw` holds the four products.
extern "C" __global__ void hyper_head(float *x, const float *streams, const uint32_t *outputs,
                                      const float *raw, const float *scale, const float *base,
                                      uint32_t width, float norm_epsilon, float epsilon) {
    in_turn();
    __shared__ float weights[STREAMS];
    streams += (uint64_t)outputs[blockIdx.x] * STREAMS * width;
    float share = inverse_rms(streams, STREAMS * width, norm_epsilon);
    if (threadIdx.x < STREAMS)
        weights[threadIdx.x] = sigmoid(raw[blockIdx.x * STREAMS + threadIdx.x] * share * scale[0] +
                                       base[threadIdx.x]) +
                               epsilon;
    __syncthreads();
    collapse(x + (uint64_t)blockIdx.x * width, streams, weights, width);
}

// A warp a row.
extern "C" __global__ void settle(const __grid_constant__ Settle in) {
    in_turn();
    settle_row(in, blockIdx.x);
}
