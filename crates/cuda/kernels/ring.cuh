// A warp's ring of windows: 128 neighbouring bytes of sixteen rows of a weight, the scales of these
// if they are codes, and what of the activations meets them. Copies go straight to shared memory, so
// that many are on their way while few registers are taken.
#pragma once
#include "codes.cuh"
#include "parts.cuh"

// Bytes of a row's window, and where the eight higher rows, the rows' scales and the tokens begin.
constexpr uint32_t SPAN = 128, HIGH_ROWS = 8 * SPAN, SCALES = 16 * SPAN, ACTS = SCALES + 128;
// Of a token: a window, the scales of its codes, and room that keeps tokens in banks of their own.
constexpr uint32_t TOKEN = SPAN + 32;

// Where the sixteen bytes number `chunk` of row `g` of eight lie: turned so that neither the chunks of a
// row nor those of neighbouring rows share banks, read by pairs of words across rows or as they came.
__device__ inline uint32_t chunk_at(uint32_t g, uint32_t chunk) {
    return g * SPAN + (chunk ^ (g % 2 * 5 + g / 2 % 2 * 2)) * 16;
}

// Copies the first `bytes` of sixteen; the others become zero.
__device__ inline void copy_some(uint32_t shared, const void *from, uint32_t bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(from),
                 "r"(bytes));
}
__device__ inline void copy16_to(uint32_t shared, const void *from) {
    asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16;" ::"r"(shared), "l"(from));
}
__device__ inline void copy4_to(uint32_t shared, const void *from) {
    asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], 4;" ::"r"(shared), "l"(from));
}

__device__ inline void ask_for(const void *at) {
    asm volatile("prefetch.global.L2 [%0];" ::"l"(at));
}

// CODES: weights are codes, in blocks of 32 with a scale each, and so are tokens. SLOT: bytes of a
// window and what comes with it.
template <bool CODES, uint32_t SLOT>
struct Ring {
    const uint8_t *at, *row[4], *head; // the rows of which the lane fetches, and the scales of one
    uint32_t row_bytes, to;

    // Rows from `first` on.
    __device__ Ring(uint8_t *ring, const Part &part, uint32_t first)
        : at(ring), row_bytes(part.w.cols * (CODES ? 1 : 2)),
          to((uint32_t)__cvta_generic_to_shared(ring)) {
        uint32_t lane = threadIdx.x % 32, last = part.rows - 1;
#pragma unroll
        for (int i = 0; i < 4; i++)
            row[i] = part.w.body + (uint64_t)min(first + 4 * i + lane / 8, last) * row_bytes;
        head = part.w.head + (uint64_t)min(first + lane / 2, last) * (row_bytes / 16);
    }

    // Of a window that a row does not have whole, others of its bytes stand for those that are
    // missing, and meet zeros.
    __device__ void fetch(uint32_t slot, uint32_t window) const {
        uint32_t lane = threadIdx.x % 32, chunk = lane % 8, first = to + slot * SLOT;
        uint32_t from = min(window * SPAN + 16 * chunk, row_bytes - 16);
#pragma unroll
        for (uint32_t i = 0; i < 4; i++)
            copy16_to(first + i / 2 * HIGH_ROWS + chunk_at(i % 2 * 4 + lane / 8, chunk),
                      row[i] + from);
        if (CODES)
            copy4_to(first + SCALES + 4 * lane,
                     head + min(8 * window + lane % 2 * 4, row_bytes / 16 - 4));
    }

    // Has the windows from `from` to before `end` brought near, while there is nothing else to do.
    __device__ void ask(uint32_t from, uint32_t end) const {
        for (uint32_t window = from + threadIdx.x % 8; window < end; window += 8)
#pragma unroll
            for (uint32_t i = 0; i < 4; i++)
                ask_for(row[i] + window * SPAN);
    }
};

// Four rows of a token's results, from `row` on; a group of 32 is eight neighbouring threads.
__device__ inline void store_results(const Part &part, uint32_t token, uint32_t row, float4 v) {
    if (row >= part.rows)
        return;
    float *out = part.out + (uint64_t)token * part.rows + row;
    if (part.rows % 4 == 0) {
        *(float4 *)out = v;
    } else {
        const float values[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int k = 0; k < 4; k++)
            if (row + k < part.rows)
                out[k] = values[k];
    }
    Order order = natural(part.rows);
    if (part.codes)
        write_codes(part.codes + (uint64_t)token * order.bytes(), order, row, v);
}
