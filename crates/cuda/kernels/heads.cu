// Query heads and latent rows: norm, rope, rounding.
#include "halves.cuh"
#include "rows.cuh"

// The turns of a head's pairs for the thread that holds channels 4 t to 4 t + 3.
__device__ inline float4 turns(const float2 *angles, int channel) {
    return *(const float4 *)(angles + (channel - PLAIN) / 2);
}

// Head `number` of all rows': RMS norm without weight, then rope; as binary16 instead, where there is
// room for that. A block.
__device__ inline void query_head(float *q, __half *half, const float2 *angles, uint32_t heads,
                                  float epsilon, uint32_t number) {
    int t = threadIdx.x;
    float4 *head = (float4 *)(q + (uint64_t)number * HEAD) + t;
    float4 v = *head;
    float scale = 1.f / sqrtf(block_sum(sum_of_squares(v)) / HEAD + epsilon);
    v = make_float4(v.x * scale, v.y * scale, v.z * scale, v.w * scale);
    if (t >= PLAIN / 4)
        v = rotate(v, turns(angles + (uint64_t)(number / heads) * PAIRS, 4 * t), false);
    if (half)
        ((uint2 *)(half + (uint64_t)number * HEAD))[t] = rounded(v);
    else
        *head = v;
}

extern "C" __global__ void __launch_bounds__(ROW_THREADS)
    query_heads(float *q, __half *half, const float2 *angles, uint32_t heads, float epsilon) {
    in_turn();
    query_head(q, half, angles, heads, epsilon, blockIdx.x);
}

// One indexer head: rope, and the space where scores are taken. A warp.
__device__ inline void index_head(float *q, __half *half, const float2 *angles, uint32_t heads,
                                  uint32_t exact, uint32_t head) {
    uint32_t lane = threadIdx.x % 32;
    float4 *at = (float4 *)(q + (uint64_t)head * INDEX) + lane;
    float4 v = *at;
    if (lane >= (INDEX - ROTARY) / 4)
        v = rotate(v,
                   *(const float4 *)(angles + (uint64_t)(head / heads) * PAIRS +
                                     (4 * lane - (INDEX - ROTARY)) / 2),
                   false);
    v = exact ? v : round_index(v);
    *at = v;
    if (half)
        *((uint2 *)(half + (uint64_t)head * INDEX) + lane) = rounded(bounded4(v));
}

extern "C" __global__ void index_heads(float *q, const float2 *angles, uint32_t heads,
                                       uint32_t count, uint32_t rounded) {
    in_turn();
    uint32_t head = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (head < count)
        index_head(q, nullptr, angles, heads, !rounded, head);
}

// Both in one launch: the query heads' blocks first, then four indexer heads a block.
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
    turn_heads(float *q, float *index_q, __half *half, const float2 *angles, uint32_t n,
               uint32_t heads, uint32_t index_heads, uint32_t exact, float epsilon) {
    in_turn();
    if (blockIdx.x < n * heads)
        return query_head(q, nullptr, angles, heads, epsilon, blockIdx.x);
    uint32_t head = (blockIdx.x - n * heads) * 4 + threadIdx.x / 32;
    if (head < n * index_heads)
        index_head(index_q, half, angles, index_heads, exact, head);
}

__device__ inline float4 scaled(float4 v, float scale, float4 w) {
    return make_float4(v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w);
}

// Norm, rope, rounding of row `number`, which joins the fresh rows of the layer at work. A block.
__device__ inline void latent_row(const float *latent, const float *weight, const float2 *angles,
                                  const Memory &memory, float epsilon, uint32_t number) {
    int t = threadIdx.x;
    float4 v = *((const float4 *)(latent + (uint64_t)number * HEAD) + t);
    float scale = 1.f / sqrtf(block_sum(sum_of_squares(v)) / HEAD + epsilon);
    v = scaled(v, scale, ((const float4 *)weight)[t]);
    if (t >= PLAIN / 4)
        v = rotate(v, turns(angles + (uint64_t)number * PAIRS, 4 * t), false);
    write_latent(memory, memory.fresh + (uint64_t)number * memory.latent_bytes, v);
}

extern "C" __global__ void __launch_bounds__(ROW_THREADS)
    latent_kv(const float *latent, const float *weight, const float2 *angles, Memory memory,
              float epsilon) {
    in_turn();
    latent_row(latent, weight, angles, memory, epsilon, blockIdx.x);
}
