// Products of few rows, up to 64, with weights of eight-bit codes or binary16: sixteen rows of a
// weight a warp, read once. Codes meet activations that are codes too, in integers, as the CPU's do;
// binary16 meets binary16.
//
// A row's windows are cut into slices, one a warp, whose sums meet in shared memory. Weights do not
// depend on what came before, so all rings fill before the kernel before is waited for.
#include "codes.cuh"
#include "ring.cuh"

// c += a b of bytes, for 16 rows of a and 8 columns of b, 32 deep. Of these a lane has eight, always
// neighbours: which ones is free as long as a and b agree.
__device__ inline void multiply(int (&c)[4], uint2 low, uint2 high, uint2 b) {
    asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
                 : "r"(low.x), "r"(high.x), "r"(low.y), "r"(high.y), "r"(b.x), "r"(b.y));
}

__device__ inline uint4 shared16(const uint8_t *at) { return *(const uint4 *)at; }

// sums[token][row] of results as tensor cores leave them, a column a token.
template <int TOKENS, int TILES>
__device__ inline void store_columns(float *sums, const float (&sum)[TILES][4]) {
    uint32_t lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
#pragma unroll
    for (int i = 0; i < TILES; i++)
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t token = 8 * i + 2 * q + k % 2;
            if (token < TOKENS)
                sums[token * 16 + g + 8 * (k / 2)] = sum[i][k];
        }
}

// Up to four tokens with codes. A lane's 32 bytes are a block of its row, whose sum has a scale of its
// own: so a column of the other factor is not a token but a token's block, empty for the lanes that
// hold other blocks. Eight columns are two tokens.
template <int TOKENS>
struct Few {
    static constexpr int TILES = (TOKENS + 1) / 2;
    float sum[TILES][2] = {};
    __device__ void meet(const uint8_t *slot) {
        uint32_t lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
        uint4 low[2], high[2];
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const uint8_t *from = slot + chunk_at(g, 2 * q + k);
            low[k] = shared16(from), high[k] = shared16(from + HIGH_ROWS);
        }
        // Of both rows the scales of two neighbouring blocks, those of the lane's results.
        const uint8_t *scales = slot + SCALES + 8 * g + q % 2 * 4;
        float2 a = __half22float2(*(const __half2 *)scales);
        float2 b = __half22float2(*(const __half2 *)(scales + 64));
#pragma unroll
        for (int i = 0; i < TILES; i++) {
            const uint8_t *x = slot + ACTS + 2 * i * TOKEN;
            int c[4] = {};
            bool there = q == g % 4 && 2 * i + g / 4 < TOKENS;
#pragma unroll
            for (int k = 0; k < 2; k++) {
                uint4 v = make_uint4(0, 0, 0, 0);
                if (there)
                    v = shared16(x + g / 4 * TOKEN + 32 * q + 16 * k);
                multiply(c, make_uint2(low[k].x, low[k].y), make_uint2(high[k].x, high[k].y),
                         make_uint2(v.x, v.y));
                multiply(c, make_uint2(low[k].z, low[k].w), make_uint2(high[k].z, high[k].w),
                         make_uint2(v.z, v.w));
            }
            // Of one token alone the other columns are nothing, times anything finite.
            const uint8_t *own = TOKENS == 1 ? x : x + q / 2 * TOKEN;
            float2 unit = *(const float2 *)(own + SPAN + q % 2 * 8);
            sum[i][0] += (float)c[0] * (a.x * unit.x) + (float)c[1] * (a.y * unit.y);
            sum[i][1] += (float)c[2] * (b.x * unit.x) + (float)c[3] * (b.y * unit.y);
        }
    }
    // sums[token][row]
    __device__ void store(float *sums) {
        uint32_t lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
#pragma unroll
        for (int i = 0; i < TILES; i++)
#pragma unroll
            for (int k = 0; k < 2; k++) {
                float v = sum[i][k] + __shfl_xor_sync(~0u, sum[i][k], 1);
                if (q % 2 == 0 && 2 * i + q / 2 < TOKENS)
                    sums[(2 * i + q / 2) * 16 + g + 8 * k] = v;
            }
    }
};

// More tokens with codes: a column each, a block at a time.
template <int TOKENS>
struct Some {
    float sum[TOKENS / 8][4] = {};
    __device__ void meet(const uint8_t *slot) {
        uint32_t lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
        uint2 low[4], high[4];
        float a[4], b[4];
#pragma unroll
        for (int k = 0; k < 4; k++) {
            const uint8_t *from = slot + chunk_at(g, 2 * k + q / 2) + q % 2 * 8;
            low[k] = *(const uint2 *)from, high[k] = *(const uint2 *)(from + HIGH_ROWS);
        }
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const uint8_t *scales = slot + SCALES + 8 * g + 4 * k;
            float2 u = __half22float2(*(const __half2 *)scales);
            float2 v = __half22float2(*(const __half2 *)(scales + 64));
            a[2 * k] = u.x, a[2 * k + 1] = u.y, b[2 * k] = v.x, b[2 * k + 1] = v.y;
        }
#pragma unroll
        for (int i = 0; i < TOKENS / 8; i++) {
            const uint8_t *x = slot + ACTS + 8 * i * TOKEN;
            const float *first = (const float *)(x + 2 * q * TOKEN + SPAN);
            const float *second = first + TOKEN / 4;
#pragma unroll
            for (int k = 0; k < 4; k++) {
                int c[4] = {};
                multiply(c, low[k], high[k], *(const uint2 *)(x + g * TOKEN + 32 * k + 8 * q));
                sum[i][0] += (float)c[0] * (a[k] * first[k]);
                sum[i][1] += (float)c[1] * (a[k] * second[k]);
                sum[i][2] += (float)c[2] * (b[k] * first[k]);
                sum[i][3] += (float)c[3] * (b[k] * second[k]);
            }
        }
    }
    __device__ void store(float *sums) { store_columns<TOKENS>(sums, sum); }
};

// Binary16, a column a token.
template <int TOKENS>
struct Halves {
    static constexpr int TILES = (TOKENS + 7) / 8;
    float sum[TILES][4] = {};
    __device__ void meet(const uint8_t *slot) {
        uint32_t lane = threadIdx.x % 32, g = lane / 4, q = lane % 4;
#pragma unroll
        for (int k = 0; k < 2; k++) {
            const uint8_t *from = slot + chunk_at(g, 2 * q + k);
            uint4 low = shared16(from), high = shared16(from + HIGH_ROWS);
#pragma unroll
            for (int i = 0; i < TILES; i++) {
                uint4 v = make_uint4(0, 0, 0, 0);
                if (8 * i + g < TOKENS)
                    v = shared16(slot + ACTS + (8 * i + g) * TOKEN + 32 * q + 16 * k);
                multiply(sum[i], make_uint2(low.x, low.y), make_uint2(high.x, high.y), v.x, v.y);
                multiply(sum[i], make_uint2(low.z, low.w), make_uint2(high.z, high.w), v.z, v.w);
            }
        }
    }
    __device__ void store(float *sums) { store_columns<TOKENS>(sums, sum); }
};

template <int TOKENS, bool CODES, class Work>
__device__ void dense_part(const Part &part, uint32_t n, uint8_t *shared) {
    constexpr uint32_t U = DEPTH<TOKENS>;
    uint32_t t = threadIdx.x, warp = t / 32, slices = part.slices, tiles = NARROW_WARPS / slices;
    uint32_t first = (blockIdx.x - part.first) * tiles * 16;
    Ring<TOKENS, CODES> ring(shared, part, first + warp / slices * 16, n);
    uint32_t windows = (ring.row_bytes + SPAN - 1) / SPAN, all = windows * part.passes;
    uint32_t share = (all + slices - 1) / slices;
    uint32_t from = warp % slices * share, to = min(from + share, all);
    // A second pass takes the same windows again, and what the first left of the tokens.
    auto fetch = [&](uint32_t slot, uint32_t window) {
        ring.fetch(slot, window - (window < windows ? 0 : windows));
    };
    auto fetch_tokens = [&](uint32_t slot, uint32_t window) {
        bool again = window >= windows;
        ring.fetch_tokens(slot, again ? window - windows : window, again ? ring.row_bytes : 0);
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
        work.meet(ring.at + slot * SLOT<TOKENS>);
        __syncwarp();
        if (window + U < to) {
            fetch(slot, window + U);
            fetch_tokens(slot, window + U);
        }
        copies_end();
        slot = slot + 1 == U ? 0 : slot + 1;
    }
    // sums[warp][token][row], in the rings, which are done with.
    constexpr uint32_t RING_FLOATS = U * SLOT<TOKENS> / 4;
    copies_wait<0>();
    __syncwarp();
    work.store((float *)shared + warp * RING_FLOATS);
    __syncthreads();
    // Four rows of a token a thread; a group of 32 is eight neighbours.
    Order order = natural(part.rows);
    for (uint32_t i = t; i < tiles * 4 * n; i += 32 * NARROW_WARPS) {
        uint32_t token = i / (4 * tiles), quad = i % (4 * tiles), at = first + 4 * quad;
        const float *own = (const float *)shared + quad / 4 * slices * RING_FLOATS + token * 16 +
                           quad % 4 * 4;
        float4 v = make_float4(0, 0, 0, 0);
        for (uint32_t s = 0; s < slices; s++) {
            float4 more = *(const float4 *)(own + s * RING_FLOATS);
            v = make_float4(v.x + more.x, v.y + more.y, v.z + more.z, v.w + more.w);
        }
        float *out = part.out + (uint64_t)token * part.rows + at;
        if (part.rows % 4 == 0) {
            if (at < part.rows)
                *(float4 *)out = v;
        } else {
            const float values[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
            for (int k = 0; k < 4; k++)
                if (at + k < part.rows)
                    out[k] = values[k];
        }
        if (part.codes && at < part.rows)
            write_codes(part.codes + (uint64_t)token * order.bytes(), order, at, v);
    }
}

template <int TOKENS>
struct ByCodes {
    using Work = Some<TOKENS>;
};
template <>
struct ByCodes<1> {
    using Work = Few<1>;
};
template <>
struct ByCodes<2> {
    using Work = Few<2>;
};
template <>
struct ByCodes<4> {
    using Work = Few<4>;
};

#define DENSE(TOKENS, BLOCKS)                                                                      \
    extern "C" __global__ void __launch_bounds__(32 * NARROW_WARPS, BLOCKS)                        \
        dense_##TOKENS(const __grid_constant__ Parts parts) {                                      \
        let_next_begin();                                                                          \
        extern __shared__ __align__(128) uint8_t rings[];                                          \
        const Part &part = own_part(parts);                                                        \
        if (part.format == 1)                                                                      \
            dense_part<TOKENS, false, Halves<TOKENS>>(part, parts.n, rings);                       \
        else                                                                                       \
            dense_part<TOKENS, true, ByCodes<TOKENS>::Work>(part, parts.n, rings);                 \
    }
DENSE(1, 3)
DENSE(2, 3)
DENSE(4, 3)
DENSE(8, 3)
DENSE(16, 3)
DENSE(32, 2)
DENSE(64, 1)
