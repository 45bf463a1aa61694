// Products of up to four tokens with weights of eight-bit codes or binary16: sixteen rows of a weight
// a warp, read once. Codes meet activations that are codes too, in integers, as the CPU's do.
//
// A row's windows are cut into slices, one a warp, whose sums meet in shared memory. Weights do not
// depend on what came before, so all rings fill before the kernel before is waited for.
#include "windows.cuh"

// Windows of a ring.
template <int TOKENS>
constexpr uint32_t DEPTH = TOKENS == 1 ? 4 : 3;
template <int TOKENS>
constexpr uint32_t SLOT = ACTS + TOKENS * TOKEN;

// A window of all tokens, `skip` bytes further, and the scales of those that have some, to `to`.
template <int TOKENS, bool CODES>
struct Tokens {
    const uint8_t *x, *scales;
    uint32_t row_bytes, stride, n;
    __device__ Tokens(const Part &part, uint32_t row, uint32_t row_bytes, uint32_t n)
        : row_bytes(row_bytes), stride(part.x_stride), n(n) {
        uint32_t z = min(row, part.rows - 1) / part.group_rows;
        x = part.x + z * row_bytes, scales = part.x + part.x_scales + z * (row_bytes / 8);
    }
    __device__ void fetch(uint32_t to, uint32_t window, uint32_t skip) const {
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
            copy_some(to + token * TOKEN + 16 * place,
                      bytes ? plane + (uint64_t)token * stride + from : plane, bytes);
        }
    }
};

template <int TOKENS, bool CODES, class Work>
__device__ void dense_part(const Part &part, uint32_t n, uint8_t *shared) {
    constexpr uint32_t U = DEPTH<TOKENS>, BYTES = SLOT<TOKENS>;
    uint32_t t = threadIdx.x, warp = t / 32, slices = part.slices, tiles = NARROW_WARPS / slices;
    uint32_t first = (blockIdx.x - part.first) * tiles * 16, row = first + warp / slices * 16;
    Ring<CODES, BYTES> ring(shared + warp * U * BYTES, part, row);
    Tokens<TOKENS, CODES> tokens(part, row, ring.row_bytes, n);
    uint32_t windows = (ring.row_bytes + SPAN - 1) / SPAN, all = windows * part.passes;
    uint32_t share = (all + slices - 1) / slices;
    uint32_t from = warp % slices * share, to = min(from + share, all);
    // A second pass takes the same windows again, and what the first left of the tokens.
    auto fetch = [&](uint32_t slot, uint32_t window) {
        ring.fetch(slot, window - (window < windows ? 0 : windows));
    };
    auto fetch_tokens = [&](uint32_t slot, uint32_t window) {
        bool again = window >= windows;
        tokens.fetch(ring.to + slot * BYTES + ACTS, again ? window - windows : window,
                     again ? ring.row_bytes : 0);
    };
#pragma unroll 1
    for (uint32_t u = 0; u < U; u++) {
        if (from + u < to)
            fetch(u, from + u);
        copies_end();
    }
    after_others();
#pragma unroll 1
    for (uint32_t u = 0; u < U; u++) {
        if (from + u < to)
            fetch_tokens(u, from + u);
        copies_end();
    }
    Work work;
    uint32_t slot = 0;
#pragma unroll 1
    for (uint32_t window = from; window < to; window++) {
        copies_wait<U - 1>();
        __syncwarp();
        const uint8_t *own = ring.at + slot * BYTES;
        work.meet(own, own + ACTS);
        __syncwarp();
        if (window + U < to) {
            fetch(slot, window + U);
            fetch_tokens(slot, window + U);
        }
        copies_end();
        slot = slot + 1 == U ? 0 : slot + 1;
    }
    // sums[warp][token][row], in the rings, which are done with.
    constexpr uint32_t RING_FLOATS = U * BYTES / 4;
    copies_wait<0>();
    __syncwarp();
    work.store((float *)shared + warp * RING_FLOATS, 16);
    __syncthreads();
    for (uint32_t i = t; i < tiles * 4 * n; i += 32 * NARROW_WARPS) {
        uint32_t token = i / (4 * tiles), quad = i % (4 * tiles);
        const float *own = (const float *)shared + quad / 4 * slices * RING_FLOATS + token * 16 +
                           quad % 4 * 4;
        float4 v = make_float4(0, 0, 0, 0);
        for (uint32_t s = 0; s < slices; s++) {
            float4 more = *(const float4 *)(own + s * RING_FLOATS);
            v = make_float4(v.x + more.x, v.y + more.y, v.z + more.z, v.w + more.w);
        }
        store_results(part, token, first + 4 * quad, v);
    }
}

#define DENSE(TOKENS)                                                                              \
    extern "C" __global__ void __launch_bounds__(32 * NARROW_WARPS, 3)                             \
        dense_##TOKENS(const __grid_constant__ Parts parts) {                                      \
        let_next_begin();                                                                          \
        extern __shared__ __align__(128) uint8_t rings[];                                          \
        const Part &part = own_part(parts);                                                        \
        if (part.format == 1)                                                                      \
            dense_part<TOKENS, false, Halves<TOKENS>>(part, parts.n, rings);                       \
        else                                                                                       \
            dense_part<TOKENS, true, Few<TOKENS>>(part, parts.n, rings);                           \
    }
DENSE(1)
DENSE(2) DENSE(4)
