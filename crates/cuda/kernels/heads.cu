// Query heads and latent rows: norm, rope, rounding.
#include "rows.cuh"

// The turns of a head's pairs for the thread that holds channels 4 t to 4 t + 3.
__device__ inline float4 turns(const float2 *angles, int channel) {
    return *(const float4 *)(angles + (channel - PLAIN) / 2);
}

// One block a head: RMS norm without weight, then rope.
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
    query_heads(float *q, const float2 *angles, uint32_t heads, float epsilon) {
    int t = threadIdx.x;
    float4 *head = (float4 *)(q + (uint64_t)blockIdx.x * HEAD) + t;
    float4 v = *head;
    float scale = 1.f / sqrtf(block_sum(sum_of_squares(v)) / HEAD + epsilon);
    v = make_float4(v.x * scale, v.y * scale, v.z * scale, v.w * scale);
    if (t >= PLAIN / 4)
        v = rotate(v, turns(angles + (uint64_t)(blockIdx.x / heads) * PAIRS, 4 * t), false);
    *head = v;
}

// One warp an indexer head: rope, and the space where scores are taken.
extern "C" __global__ void index_heads(float *q, const float2 *angles, uint32_t heads,
                                       uint32_t count, uint32_t rounded) {
    uint32_t head = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x % 32;
    if (head >= count)
        return;
    float4 *at = (float4 *)(q + (uint64_t)head * INDEX) + lane;
    float4 v = *at;
    if (lane >= (INDEX - ROTARY) / 4)
        v = rotate(v,
                   *(const float4 *)(angles + (uint64_t)(head / heads) * PAIRS +
                                     (4 * lane - (INDEX - ROTARY)) / 2),
                   false);
    *at = rounded ? round_index(v) : v;
}

__device__ inline float4 scaled(float4 v, float scale, float4 w) {
    return make_float4(v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w);
}

// One block a row: norm, rope, rounding; the row joins the fresh rows of the layer at work.
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
    latent_kv(const float *latent, const float *weight, const float2 *angles, Memory memory,
              float epsilon) {
    int t = threadIdx.x;
    float4 v = *((const float4 *)(latent + (uint64_t)blockIdx.x * HEAD) + t);
    float scale = 1.f / sqrtf(block_sum(sum_of_squares(v)) / HEAD + epsilon);
    v = scaled(v, scale, ((const float4 *)weight)[t]);
    if (t >= PLAIN / 4)
        v = rotate(v, turns(angles + (uint64_t)blockIdx.x * PAIRS, 4 * t), false);
    write_latent(memory, memory.fresh + (uint64_t)blockIdx.x * memory.latent_bytes, v);
}

// One block a row: the fresh row becomes part of the ring. Of a long run only the last rows stay.
extern "C" __global__ void window_commit(const Row *rows, Memory memory, Place at) {
    Row row = rows[blockIdx.x];
    if (blockIdx.x + memory.ring_rows < row.run_end)
        return;
    const uint32_t *from =
        (const uint32_t *)(memory.fresh + (uint64_t)blockIdx.x * memory.latent_bytes);
    uint32_t *to = (uint32_t *)ring_row(memory, at, row.slot, row.pos);
    for (uint32_t i = threadIdx.x; i < memory.latent_bytes / 4; i += blockDim.x)
        to[i] = from[i];
}
