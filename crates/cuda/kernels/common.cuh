// What every kernel shares: the family's fixed sizes, the plan as the card sees it, sums over warps
// and blocks.
//
// All kernels are deterministic: no float atomics, every sum in an order that depends on sizes
// alone.
#pragma once
#include <cuda_fp16.h>
#include <cstdint>

constexpr int HEAD = 512;            // width of a query head and of a latent row
constexpr int ROTARY = 64;           // its last channels turn
constexpr int PLAIN = HEAD - ROTARY; // the others are stored as E4M3
constexpr int INDEX = 128;           // width of an index row
constexpr int PAIRS = ROTARY / 2;
constexpr int STREAMS = 4;
constexpr int PAGE_TOKENS = 512;
// A row of a head is owned by this many threads, four channels each.
constexpr int ROW_THREADS = HEAD / 4;

// One row of the plan.
struct Row {
    uint32_t slot, pos, token;
    uint32_t run_pos;     // position of its run's first row
    uint32_t run_row;     // that row's number in the plan
    uint32_t run_end;     // row after the run's last one
    uint32_t draft_first; // first position that the draft block's ring holds
    uint32_t run;         // number of the run
};

// One stretch of positions of a slot.
struct Run {
    uint32_t slot, pos, row, rows;
};

// A window that some run touches: `number` counts windows of the slot.
struct Window {
    uint32_t run, number;
};

// Where sessions' rows lie.
struct Memory {
    uint8_t *arena;
    uint8_t *rings;
    uint8_t *fresh;
    float *pools;
    const uint32_t *tables; // page numbers, slot after slot
    uint64_t page_bytes;
    uint64_t ring_bytes; // of one slot
    uint32_t table_width;
    uint32_t ring_rows;
    uint32_t latent_bytes, index_bytes;
    uint32_t pool_floats;
    uint32_t window;
    uint32_t packed;  // rows in their trained bits, else F32
    uint32_t rounded; // F32 rows carry the model's roundings
};

// Where one layer's rows lie.
struct Place {
    uint64_t ring;          // byte offset of the layer in a slot's rings
    uint64_t latent, index; // byte offsets in a page
    uint32_t rows;          // rows of the layer in a page
    uint32_t ratio;
    uint32_t pool, index_pool; // float offsets in a slot's pool
};

__device__ inline uint8_t *page_row(const Memory &m, const Place &at, uint32_t slot, uint32_t row,
                                    bool index) {
    uint32_t page = m.tables[(uint64_t)slot * m.table_width + row / at.rows];
    uint64_t base = index ? at.index : at.latent;
    uint32_t bytes = index ? m.index_bytes : m.latent_bytes;
    return m.arena + page * m.page_bytes + base + (uint64_t)(row % at.rows) * bytes;
}

__device__ inline uint8_t *ring_row(const Memory &m, const Place &at, uint32_t slot, uint32_t pos) {
    return m.rings + slot * m.ring_bytes + at.ring + (uint64_t)(pos % m.ring_rows) * m.latent_bytes;
}

// Lets the next kernel's blocks begin. Every kernel calls it, and `after_others` before it touches
// anything but weights: so each may begin while the one before it ends.
__device__ inline void let_next_begin() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}
// Waits until the kernel before is done and its results are seen.
__device__ inline void after_others() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
__device__ inline void in_turn() {
    let_next_begin();
    after_others();
}

__device__ inline float warp_sum(float v) {
    for (int lane = 16; lane; lane >>= 1)
        v += __shfl_xor_sync(~0u, v, lane);
    return v;
}

// Sum over a block of whole warps; every thread gets it.
__device__ inline float block_sum(float v) {
    __shared__ float parts[32];
    v = warp_sum(v);
    __syncthreads();
    if (threadIdx.x % 32 == 0)
        parts[threadIdx.x / 32] = v;
    __syncthreads();
    float sum = threadIdx.x % 32 < blockDim.x / 32 ? parts[threadIdx.x % 32] : 0.f;
    return warp_sum(sum);
}

__device__ inline float sigmoid(float x) { return 1.f / (1.f + expf(-x)); }

__device__ inline float sum_of_squares(float4 v) {
    return v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
}

// Rotates the pairs (a.x, a.y) and (a.z, a.w) by two (cos, sin); backwards when `back`.
__device__ inline float4 rotate(float4 a, float4 turn, bool back) {
    float s0 = back ? -turn.y : turn.y, s1 = back ? -turn.w : turn.w;
    return make_float4(a.x * turn.x - a.y * s0, a.x * s0 + a.y * turn.x, a.z * turn.z - a.w * s1,
                       a.z * s1 + a.w * turn.z);
}

// Floats as integers in the order of IEEE totalOrder.
__device__ inline uint32_t ordered(float v) {
    uint32_t bits = __float_as_uint(v);
    return bits & 0x80000000 ? ~bits : bits | 0x80000000;
}
