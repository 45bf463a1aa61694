// Products of 5 to 64 tokens with weights of eight-bit codes or binary16.
//
// A block has sixteen rows a warp and one slice of their windows, so that it reads its slice of the
// tokens once for all of them. The slices of a row are a cluster of blocks, which add up each other's
// sums.
#include "cluster.cuh"
#include "windows.cuh"

constexpr uint32_t WIDE_ROWS = 16 * NARROW_WARPS;
// Windows of a ring.
template <int TOKENS>
constexpr uint32_t WIDE_DEPTH = TOKENS == 64 ? 2 : 4;
// Between the sums of tokens, in floats.
constexpr uint32_t WIDE_STRIDE = WIDE_ROWS + 4;

#if __CUDA_ARCH__ >= 900
__device__ inline float4 peer_sums(uint32_t address) {
    float4 v;
    asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(address)
                 : "memory");
    return v;
}
__device__ inline void cluster_meet() {
    asm volatile("barrier.cluster.arrive.release;" ::: "memory");
    asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
}

// Windows `from` to before `to` of all tokens, [window][token], with the scales of those that have
// some. Ordinary loads: they do not wait for the rings' copies.
template <int TOKENS, bool CODES>
__device__ inline void take_tokens(uint8_t *acts, const Part &part, uint32_t first, uint32_t n,
                                   uint32_t row_bytes, uint32_t windows, uint32_t from,
                                   uint32_t to) {
    uint32_t z = min(first, part.rows - 1) / part.group_rows;
    const uint8_t *x = part.x + z * row_bytes;
    const uint8_t *scales = part.x + part.x_scales + z * (row_bytes / 8);
    uint32_t all = (max(to, from) - from) * TOKENS * 9;
#pragma unroll 4
    for (uint32_t i = threadIdx.x; i < all; i += 32 * NARROW_WARPS) {
        uint32_t place = i % 9, token = i / 9 % TOKENS, number = i / (9 * TOKENS);
        uint32_t window = from + number, skip = 0;
        if (window >= windows)
            window -= windows, skip = row_bytes;
        bool scale = place == 8;
        uint32_t at = scale ? window * 16 : window * SPAN + 16 * place;
        uint32_t end = scale ? (CODES ? row_bytes / 8 : 0) : row_bytes;
        uint4 v = make_uint4(0, 0, 0, 0);
        if (token < n && at < end) {
            const uint8_t *plane = scale ? scales : x + skip;
            const uint2 *own = (const uint2 *)(plane + (uint64_t)token * part.x_stride + at);
            uint2 low = own[0], high = make_uint2(0, 0);
            // The last scales may be half of sixteen bytes.
            if (at + 8 < end)
                high = own[1];
            v = make_uint4(low.x, low.y, high.x, high.y);
        }
        *(uint4 *)(acts + (number * TOKENS + token) * TOKEN + 16 * place) = v;
    }
}

template <int TOKENS, bool CODES, class Work>
__device__ void wide_part(const Part &part, uint32_t n, uint8_t *shared) {
    constexpr uint32_t U = WIDE_DEPTH<TOKENS>, BYTES = ACTS;
    uint32_t t = threadIdx.x, warp = t / 32, slices = part.slices, rank = blockIdx.x % slices;
    uint32_t first = (blockIdx.x - part.first) / slices * WIDE_ROWS;
    Ring<CODES, BYTES> ring(shared + warp * U * BYTES, part, first + 16 * warp);
    uint8_t *acts = shared + NARROW_WARPS * U * BYTES;
    uint32_t windows = (ring.row_bytes + SPAN - 1) / SPAN, all = windows * part.passes;
    uint32_t share = (all + slices - 1) / slices;
    uint32_t from = rank * share, to = min(from + share, all);
    auto fetch = [&](uint32_t slot, uint32_t window) {
        ring.fetch(slot, window - (window < windows ? 0 : windows));
    };
#pragma unroll 1
    for (uint32_t u = 0; u < U; u++) {
        if (from + u < to)
            fetch(u, from + u);
        copies_end();
    }
    ring.ask(from + U, min(to, windows));
    after_others();
    take_tokens<TOKENS, CODES>(acts, part, first, n, ring.row_bytes, windows, from, to);
    __syncthreads();
    Work work;
    uint32_t slot = 0;
#pragma unroll 1
    for (uint32_t window = from; window < to; window++) {
        copies_wait<U - 1>();
        __syncwarp();
        work.meet(ring.at + slot * BYTES, acts + (window - from) * TOKENS * TOKEN);
        __syncwarp();
        if (window + U < to)
            fetch(slot, window + U);
        copies_end();
        slot = slot + 1 == U ? 0 : slot + 1;
    }
    copies_wait<0>();
    __syncthreads();
    // sums[token][row], where the rings were.
    float *sums = (float *)shared;
    work.store(sums + 16 * warp, WIDE_STRIDE);
    cluster_meet();
    uint32_t rows = WIDE_ROWS / slices;
    for (uint32_t i = t; i < rows / 4 * n; i += 32 * NARROW_WARPS) {
        uint32_t token = i / (rows / 4), row = rank * rows + i % (rows / 4) * 4;
        float4 v = make_float4(0, 0, 0, 0);
        for (uint32_t s = 0; s < slices; s++) {
            float4 more = peer_sums(in_peer(sums + token * WIDE_STRIDE + row, s));
            v = make_float4(v.x + more.x, v.y + more.y, v.z + more.z, v.w + more.w);
        }
        store_results(part, token, first + row, v);
    }
    // Nobody leaves while others read.
    cluster_meet();
}
#endif

#if __CUDA_ARCH__ >= 900
#define WIDE_BODY(TOKENS)                                                                          \
    let_next_begin();                                                                              \
    extern __shared__ __align__(128) uint8_t rings[];                                              \
    const Part &part = own_part(parts);                                                            \
    if (part.format == 1)                                                                          \
        wide_part<TOKENS, false, Halves<TOKENS>>(part, parts.n, rings);                            \
    else                                                                                           \
        wide_part<TOKENS, true, Some<TOKENS>>(part, parts.n, rings);
#else
#define WIDE_BODY(TOKENS)
#endif
#define WIDE(TOKENS, BLOCKS)                                                                       \
    extern "C" __global__ void __launch_bounds__(32 * NARROW_WARPS, BLOCKS)                        \
        dense_##TOKENS(const __grid_constant__ Parts parts) {                                      \
        WIDE_BODY(TOKENS)                                                                          \
    }
WIDE(8, 2)
WIDE(16, 2) WIDE(32, 2) WIDE(64, 1)
