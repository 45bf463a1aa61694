// Stretches of a step of few rows, several operations a kernel: such kernels are so short that how
// many there are counts.
#include "codes.cuh"
#include "halves.cuh"
#include "hyper.cuh"

constexpr int MIX_VALUES = 256;

// Products of 256 values of a row's streams with the mix matrix, and the sum of their squares.
// parts[row][block][25]; a warp has three rows of the matrix.
extern "C" __global__ void __launch_bounds__(256)
    mix_parts(float *parts, const float *streams, Weight w) {
    let_next_begin();
    __shared__ __align__(16) float values[MIX_VALUES];
    uint32_t t = threadIdx.x, warp = t / 32, lane = t % 32, from = blockIdx.x * MIX_VALUES;
    uint4 weights[3];
#pragma unroll
    for (int r = 0; r < 3; r++)
        weights[r] = load16(w.body + ((uint64_t)(3 * warp + r) * w.cols + from + 8 * lane) * 2);
    after_others();
    values[t] = streams[(uint64_t)blockIdx.y * w.cols + from + t];
    __syncthreads();
    float4 a = *(float4 *)&values[8 * lane], b = *(float4 *)&values[8 * lane + 4];
    float *out = parts + ((uint64_t)blockIdx.y * gridDim.x + blockIdx.x) * MIX_SUMS;
#pragma unroll
    for (int r = 0; r < 3; r++) {
        float2 p = __half22float2(pair(weights[r].x)), q = __half22float2(pair(weights[r].y));
        float2 u = __half22float2(pair(weights[r].z)), v = __half22float2(pair(weights[r].w));
        float sum = warp_sum(((a.x * p.x + a.y * p.y) + (a.z * q.x + a.w * q.y)) +
                             ((b.x * u.x + b.y * u.y) + (b.z * v.x + b.w * v.y)));
        if (lane == 0)
            out[3 * warp + r] = sum;
    }
    if (warp == 0) {
        float squares = warp_sum(sum_of_squares(a) + sum_of_squares(b));
        if (lane == 0)
            out[MIX_ROWS] = squares;
    }
}

constexpr int JOIN_THREADS = 512, JOIN_MOST = 4;

// The parts' sums make the weights of the hyper-connection; the streams are read with them and
// normed. One block a row. The last warp works out how they are written back, the others go on
// without it.
extern "C" __global__ void __launch_bounds__(JOIN_THREADS)
    mix_join(float *x, float *xn, __half *half, __half *fine, uint8_t *codes, float *mix,
             const float *parts, const float *streams, const float *norm, const float *scale,
             const float *base, uint32_t count, uint32_t width, uint32_t rounds, float norm_epsilon, float epsilon) {
    let_next_begin();
    __shared__ float raw[MIX_SUMS], pre[2][STREAMS], squares[JOIN_THREADS / 32];
    uint32_t t = threadIdx.x, warp = t / 32, lane = t % 32, row = blockIdx.x;
    constexpr uint32_t OTHERS = JOIN_THREADS - 32;
    after_others();
    parts += (uint64_t)row * count * MIX_SUMS;
    for (uint32_t i = warp; i < MIX_SUMS; i += JOIN_THREADS / 32) {
        float sum = 0;
        for (uint32_t k = lane; k < count; k += 32)
            sum += parts[k * MIX_SUMS + i];
        sum = warp_sum(sum);
        if (lane == 0)
            raw[i] = sum;
    }
    __syncthreads();
    float share = 1.f / sqrtf(raw[MIX_ROWS] / (float)(STREAMS * width) + norm_epsilon);
    if (warp == JOIN_THREADS / 32 - 1) {
        mix_weights(pre[1], mix + (uint64_t)row * 20, raw, share, scale, base, rounds, epsilon);
        return;
    }
    float w[STREAMS];
#pragma unroll
    for (int s = 0; s < STREAMS; s++)
        w[s] = sigmoid(raw[s] * share * scale[0] + base[s]) + epsilon;
    uint32_t quarter = width / 4;
    const float4 *in = (const float4 *)(streams + (uint64_t)row * STREAMS * width);
    float4 own[JOIN_MOST];
    float sum = 0;
#pragma unroll
    for (int k = 0; k < JOIN_MOST; k++) {
        uint32_t i = t + k * OTHERS;
        own[k] = make_float4(0, 0, 0, 0);
        if (i >= quarter)
            continue;
        float4 a = in[i], b = in[quarter + i], c = in[2 * quarter + i], d = in[3 * quarter + i];
        own[k] = make_float4(w[0] * a.x + w[1] * b.x + w[2] * c.x + w[3] * d.x,
                             w[0] * a.y + w[1] * b.y + w[2] * c.y + w[3] * d.y,
                             w[0] * a.z + w[1] * b.z + w[2] * c.z + w[3] * d.z,
                             w[0] * a.w + w[1] * b.w + w[2] * c.w + w[3] * d.w);
        sum += sum_of_squares(own[k]);
    }
    sum = warp_sum(sum);
    if (lane == 0)
        squares[warp] = sum;
    asm volatile("bar.sync 1, %0;" ::"n"(OTHERS) : "memory");
    sum = warp_sum(lane < OTHERS / 32 ? squares[lane] : 0.f);
    float inverse = 1.f / sqrtf(sum / (float)width + norm_epsilon);
#pragma unroll
    for (int k = 0; k < JOIN_MOST; k++) {
        uint32_t i = t + k * OTHERS;
        if (i >= quarter)
            continue;
        float4 n = ((const float4 *)norm)[i], v = own[k];
        ((float4 *)(x + (uint64_t)row * width))[i] = v;
        n = make_float4(v.x * inverse * n.x, v.y * inverse * n.y, v.z * inverse * n.z,
                        v.w * inverse * n.w);
        ((float4 *)(xn + (uint64_t)row * width))[i] = n;
        // For products: rounded, and for those on which choices depend with what rounding left.
        uint2 high = rounded(bounded4(n));
        ((uint2 *)(half + (uint64_t)row * width))[i] = high;
        ((uint2 *)(fine + (uint64_t)row * 2 * width))[i] = high;
        ((uint2 *)(fine + ((uint64_t)row * 2 + 1) * width))[i] = remainder(n, high);
        write_codes(codes + (uint64_t)row * natural(width).bytes(), natural(width), 4 * i, n);
    }
}

// A compressor's work on one token of each row.
struct Squeeze {
    const float *u, *z, *ape, *norm;
    uint32_t d, pool_at;
};

// What follows the first products of attention: the norm of the queries' low rank, the latent row,
// the compressors. Rows are runs of one token each.
struct Inward {
    float *qr;
    __half *qr_half;
    uint8_t *qr_codes;
    const float *qa, *query_norm, *latent, *latent_norm;
    const float2 *angles;
    const float *frequencies;
    const Row *rows;
    Memory memory;
    Place at;
    Squeeze squeeze[2];
    Settle settle;
    uint32_t n, rank;
    float epsilon;
    uint32_t kinds; // of blocks, each a row's; the last one settles
};

// As `pool_windows` and `emit_rows` for a run of one token; its sums go to the pool at once.
__device__ inline void squeeze_token(const Inward &in, const Squeeze &s, uint32_t number) {
    int t = threadIdx.x;
    Row row = in.rows[number];
    uint32_t ratio = in.at.ratio, place = row.pos % ratio, width = ratio == 4 ? 2 * s.d : s.d;
    float *pool = in.memory.pools + (uint64_t)row.slot * in.memory.pool_floats + s.pool_at;
    bool opens = place == 0, completes = place + 1 == ratio;
    float v[4] = {};
    if (4 * t < (int)s.d) {
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t channel = 4 * t + k;
            auto feed = [&](Sum &sum, uint32_t at) {
                uint64_t from = (uint64_t)number * width + at;
                sum.push(s.z[from] + s.ape[place * width + at], s.u[from]);
            };
            if (ratio == 4) {
                Sum before, a, b;
                before.load(pool, 0, s.d, channel);
                a.clear(), b.clear();
                if (!opens)
                    a.load(pool, 1, s.d, channel), b.load(pool, 2, s.d, channel);
                feed(a, channel);
                feed(b, s.d + channel);
                if (completes) {
                    float top = fmaxf(b.max, before.max), e = expf(before.max - top),
                          f = expf(b.max - top);
                    v[k] = (before.weighted * e + b.weighted * f) / (before.sum * e + b.sum * f);
                    before = a;
                    a.clear(), b.clear();
                }
                before.store(pool, 0, s.d, channel), a.store(pool, 1, s.d, channel),
                    b.store(pool, 2, s.d, channel);
            } else {
                Sum open;
                open.clear();
                if (!opens)
                    open.load(pool, 0, s.d, channel);
                feed(open, channel);
                if (completes) {
                    v[k] = open.weighted / open.sum;
                    open.clear();
                }
                open.store(pool, 0, s.d, channel);
            }
        }
    }
    if (completes)
        emit(make_float4(v[0], v[1], v[2], v[3]), s.norm, in.frequencies, in.memory, in.at,
             row.slot, row.pos / ratio, s.d, in.epsilon);
}

extern "C" __global__ void __launch_bounds__(ROW_THREADS)
    after_inward(const __grid_constant__ Inward in) {
    in_turn();
    uint32_t number = blockIdx.x % in.n, kind = blockIdx.x / in.n, t = threadIdx.x;
    if (kind + 1 == in.kinds) {
        if (t < 32)
            settle_row(in.settle, number);
    } else if (kind == 0) {
        const float *from = in.qa + (uint64_t)number * in.rank;
        float *to = in.qr + (uint64_t)number * in.rank;
        float squares = 0;
        for (uint32_t i = 4 * t; i < in.rank; i += 4 * ROW_THREADS)
            squares += sum_of_squares(*(const float4 *)(from + i));
        float inverse = 1.f / sqrtf(block_sum(squares) / (float)in.rank + in.epsilon);
        Order order = natural(in.rank);
        for (uint32_t i = 4 * t; i < in.rank; i += 4 * ROW_THREADS) {
            float4 v = scaled(*(const float4 *)(from + i), inverse,
                              *(const float4 *)(in.query_norm + i));
            *(float4 *)(to + i) = v;
            *(uint2 *)(in.qr_half + (uint64_t)number * in.rank + i) = rounded(bounded4(v));
            write_codes(in.qr_codes + (uint64_t)number * order.bytes(), order, i, v);
        }
    } else if (kind == 1) {
        latent_row(in.latent, in.latent_norm, in.angles, in.memory, in.epsilon, number);
    } else {
        squeeze_token(in, in.squeeze[kind - 2], number);
    }
}
