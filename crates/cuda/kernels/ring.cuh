// A warp's ring of windows: 128 neighbouring bytes of sixteen rows of a weight, the scales of these
// if they are codes, and what of the activations meets them. Copies go straight to shared memory, so
// that many are on their way while few registers are taken.
#pragma once
#include "parts.cuh"

// Bytes of a row's window, and where the eight higher rows, the rows' scales and the tokens begin.
constexpr uint32_t SPAN = 128, HIGH_ROWS = 8 * SPAN, SCALES = 16 * SPAN, ACTS = SCALES + 128;
// Of a token: a window, the scales of its codes, and room that keeps tokens in banks of their own.
constexpr uint32_t TOKEN = SPAN + 32;

// Windows of a ring.
template <int TOKENS>
constexpr int DEPTH = TOKENS == 1 ? 4 : TOKENS <= 4 ? 3 : 2;
template <int TOKENS>
constexpr uint32_t SLOT = ACTS + TOKENS * TOKEN;

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

// CODES: weights are codes, in blocks of 32 with a scale each, and so are tokens.
template <int TOKENS, bool CODES>
struct Ring {
    const uint8_t *at, *x, *scales; // the ring; the first token, and its scales
    const uint8_t *row[4], *head;   // the rows of which the lane fetches, and the scales of one
    uint32_t row_bytes, x_stride, n, to;

    // Rows from `first` on.
    __device__ Ring(uint8_t *shared, const Part &part, uint32_t first, uint32_t n)
        : row_bytes(part.w.cols * (CODES ? 1 : 2)), x_stride(part.x_stride), n(n) {
        uint32_t lane = threadIdx.x % 32, last = part.rows - 1;
        uint8_t *ring = shared + threadIdx.x / 32 * DEPTH<TOKENS> * SLOT<TOKENS>;
        at = ring, to = (uint32_t)__cvta_generic_to_shared(ring);
#pragma unroll
        for (int i = 0; i < 4; i++)
            row[i] = part.w.body + (uint64_t)min(first + 4 * i + lane / 8, last) * row_bytes;
        head = part.w.head + (uint64_t)min(first + lane / 2, last) * (row_bytes / 16);
        uint32_t z = min(first, last) / part.group_rows;
        x = part.x + z * row_bytes, scales = part.x + part.x_scales + z * (row_bytes / 8);
    }

    // Of a window that a row does not have whole, others of its bytes stand for those that are
    // missing, and meet zeros.
    __device__ void fetch(uint32_t slot, uint32_t window) const {
        uint32_t lane = threadIdx.x % 32, chunk = lane % 8, first = to + slot * SLOT<TOKENS>;
        uint32_t from = min(window * SPAN + 16 * chunk, row_bytes - 16);
#pragma unroll
        for (uint32_t i = 0; i < 4; i++)
            copy16_to(first + i / 2 * HIGH_ROWS + chunk_at(i % 2 * 4 + lane / 8, chunk),
                      row[i] + from);
        if (CODES)
            copy4_to(first + SCALES + 4 * lane,
                     head + min(8 * window + lane % 2 * 4, row_bytes / 16 - 4));
    }

    // The same window of all tokens, `skip` bytes further, and its scales.
    __device__ void fetch_tokens(uint32_t slot, uint32_t window, uint32_t skip) const {
        uint32_t first = to + slot * SLOT<TOKENS> + ACTS;
#pragma unroll
        for (uint32_t k = 0; k < (9 * TOKENS + 31) / 32; k++) {
            uint32_t number = 32 * k + threadIdx.x % 32, token = number / 9, place = number % 9;
            bool scale = place == 8;
            if (token >= TOKENS || (scale && !CODES))
                continue;
            uint32_t from = scale ? window * 16 : window * SPAN + 16 * place;
            uint32_t end = scale ? row_bytes / 8 : row_bytes;
            uint32_t bytes = token < n && from < end ? min(end - from, 16u) : 0;
            const uint8_t *plane = scale ? scales : x + skip;
            copy_some(first + token * TOKEN + 16 * place,
                      bytes ? plane + (uint64_t)token * x_stride + from : plane, bytes);
        }
    }
};
