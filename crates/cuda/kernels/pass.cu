// From one sub-layer to the next, for steps of few rows: the streams are written with what the last
// one gave, then read for the next one and normed.
//
// A cluster of blocks has a row, each a stretch of its columns in all four streams, so that streams
// stay in registers. What blocks have to tell each other goes in one exchange: sums of products with
// the mix matrix, and of the streams with each other, by which the norm of what will be read from
// them is known before it is read. The matrix does not depend on what came before; it is on its way
// before the kernel waits.
#include "cluster.cuh"
#include "codes.cuh"
#include "hyper.cuh"

struct Pass {
    float *streams;
    const float *y;           // what the last sub-layer gave; null: streams are only read
    const float *picked;      // and results of `used` picks, to be added to it
    const uint32_t *place_of; // where those of each pick lie; null: in turn
    const float *mix;
    float *known; // what the next `mix` will be made of
    Weight w;
    const float *norm, *scale, *base;
    float *xn;
    __half *half, *fine;
    uint8_t *codes; // null where a block's columns are no whole groups of 32
    uint32_t width, used;
    float norm_epsilon, epsilon;
};

constexpr int PASS_GROUPS = 4, PASS_OWN = MIX_ROWS / PASS_GROUPS, PASS_BLOCKS = 16, PASS_WARPS = 4;
// Sums of a group of threads: of its rows of the matrix, and of up to three pairs of streams.
constexpr int PASS_EACH = PASS_OWN + 3, PASS_SUMS = PASS_GROUPS * PASS_EACH;

__device__ inline float dot(float4 a, float4 b) {
    return (a.x * b.x + a.y * b.y) + (a.z * b.z + a.w * b.w);
}

// The new streams of four columns, which lie at `column` of a row.
__device__ inline void pass_streams(float4 (&v)[STREAMS], const Pass &in, uint32_t row,
                                    uint32_t column) {
    const float *streams = in.streams + (uint64_t)row * STREAMS * in.width + column;
#pragma unroll
    for (int s = 0; s < STREAMS; s++)
        v[s] = *(const float4 *)(streams + (uint64_t)s * in.width);
    if (!in.y)
        return;
    float4 more = *(const float4 *)(in.y + (uint64_t)row * in.width + column);
    float mix[STREAMS + STREAMS * STREAMS];
#pragma unroll
    for (int i = 0; i < 5; i++)
        *(float4 *)(mix + 4 * i) = *((const float4 *)(in.mix + row * 20) + i);
    float4 sum = make_float4(0, 0, 0, 0);
    constexpr int AT_ONCE = 6;
#pragma unroll 1
    for (uint32_t j = 0; j < in.used; j += AT_ONCE) {
        uint32_t place[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
            place[k] = min(j + k, in.used - 1);
        if (in.place_of)
#pragma unroll
            for (int k = 0; k < AT_ONCE; k++)
                place[k] = in.place_of[row * in.used + place[k]];
        float4 part[AT_ONCE];
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++) {
            part[k] = *(const float4 *)(in.picked + (uint64_t)place[k] * in.width + column);
            if (j + k >= in.used)
                part[k] = make_float4(0, 0, 0, 0);
        }
#pragma unroll
        for (int k = 0; k < AT_ONCE; k++)
            sum.x += part[k].x, sum.y += part[k].y, sum.z += part[k].z, sum.w += part[k].w;
    }
    sum.x += more.x, sum.y += more.y, sum.z += more.z, sum.w += more.w;
    float4 old[STREAMS] = {v[0], v[1], v[2], v[3]};
#pragma unroll
    for (int s = 0; s < STREAMS; s++) {
        float4 mixed = make_float4(0, 0, 0, 0);
#pragma unroll
        for (int j = 0; j < STREAMS; j++) {
            float share = mix[4 + 4 * j + s];
            mixed.x += share * old[j].x, mixed.y += share * old[j].y;
            mixed.z += share * old[j].z, mixed.w += share * old[j].w;
        }
        v[s] = make_float4(mix[s] * sum.x + mixed.x, mix[s] * sum.y + mixed.y,
                           mix[s] * sum.z + mixed.z, mix[s] * sum.w + mixed.w);
    }
}

// Sums over a warp of eight values each; lanes 4 i to 4 i + 3 get the one that is number i.
__device__ inline float warp_sums(const float (&v)[8]) {
    uint32_t lane = threadIdx.x % 32;
    bool a = lane & 16, b = lane & 8, c = lane & 4;
    float four[4], two[2];
#pragma unroll
    for (int i = 0; i < 4; i++)
        four[i] = (a ? v[4 + i] : v[i]) + __shfl_xor_sync(~0u, a ? v[i] : v[4 + i], 16);
#pragma unroll
    for (int i = 0; i < 2; i++)
        two[i] = (b ? four[2 + i] : four[i]) + __shfl_xor_sync(~0u, b ? four[i] : four[2 + i], 8);
    float one = (c ? two[1] : two[0]) + __shfl_xor_sync(~0u, c ? two[0] : two[1], 4);
    one += __shfl_xor_sync(~0u, one, 2);
    return one + __shfl_xor_sync(~0u, one, 1);
}

// Four groups of threads have the same columns: each multiplies them by six rows of the matrix, and
// writes one of the streams and one of the results.
extern "C" __global__ void __launch_bounds__(32 * PASS_GROUPS * PASS_WARPS)
    pass(const __grid_constant__ Pass in) {
#if __CUDA_ARCH__ >= 900
    let_next_begin();
    extern __shared__ __align__(128) uint8_t shared[];
    __shared__ float sums[PASS_GROUPS * PASS_WARPS][PASS_EACH], got[PASS_BLOCKS][PASS_SUMS],
        known[3 + MIX_ROWS];
    __shared__ uint64_t box;
    uint32_t t = threadIdx.x, warp = t / 32, lane = t % 32, rank = blockIdx.x, blocks = gridDim.x,
             row = blockIdx.y;
    uint32_t columns = in.width / blocks, first = rank * columns;
    uint32_t each = blockDim.x / PASS_GROUPS, warps = each / 32;
    uint32_t group = t / each, own = t % each * 4, column = first + own;
    bool works = own < columns;
#pragma unroll 1
    for (uint32_t line = warp; line < MIX_ROWS * STREAMS; line += blockDim.x / 32) {
        const uint8_t *from = in.w.body + ((uint64_t)line * in.width + first) * 2;
#pragma unroll 1
        for (uint32_t c = lane * 8; c < columns; c += 256)
            copy16(shared + (line * columns + c) * 2, from + c * 2);
    }
    copies_end();
    if (t < 3 + MIX_ROWS)
        known[t] = t < 3 ? in.scale[t] : in.base[t - 3];
    float4 norm = works ? *(const float4 *)(in.norm + column) : make_float4(0, 0, 0, 0);
    if (t == 0)
        open_box(&box, blocks * PASS_SUMS * 4);
    cluster_arrive();
    after_others();
    float4 v[STREAMS] = {};
    if (works)
        pass_streams(v, in, row, column);
    copies_wait<0>();
    // From here on all old values have been read.
    __syncthreads();
    float sum[8] = {}, last = 0;
    if (works) {
        const uint8_t *weights = shared + (group * PASS_OWN * STREAMS * columns + own) * 2;
#pragma unroll
        for (int i = 0; i < PASS_OWN; i++)
#pragma unroll
            for (int s = 0; s < STREAMS; s++) {
                uint2 w = *(const uint2 *)(weights + (i * STREAMS + s) * columns * 2);
                float2 a = __half22float2(pair(w.x)), b = __half22float2(pair(w.y));
                sum[i] += dot(v[s], make_float4(a.x, a.y, b.x, b.y));
            }
        float4 *to = (float4 *)(in.streams + ((uint64_t)row * STREAMS + group) * in.width + column);
        if (group == 0) {
            sum[6] = dot(v[0], v[0]), sum[7] = dot(v[1], v[1]), last = dot(v[2], v[2]);
            if (in.y)
                *to = v[0];
        } else if (group == 1) {
            sum[6] = dot(v[3], v[3]), sum[7] = dot(v[0], v[1]), last = dot(v[0], v[2]);
            if (in.y)
                *to = v[1];
        } else if (group == 2) {
            sum[6] = dot(v[0], v[3]), sum[7] = dot(v[1], v[2]), last = dot(v[1], v[3]);
            if (in.y)
                *to = v[2];
        } else {
            sum[6] = dot(v[2], v[3]);
            if (in.y)
                *to = v[3];
        }
    }
    float one = warp_sums(sum);
    last = warp_sum(last);
    if (lane % 4 == 0)
        sums[warp][lane / 4] = one;
    if (lane == 1)
        sums[warp][8] = last;
    __syncthreads();
    cluster_wait();
    // Lanes have a sum each, four have one more.
    float whole[2] = {};
#pragma unroll 1
    for (uint32_t w = 0; w < warps; w++) {
        whole[0] += sums[lane / PASS_EACH * warps + w][lane % PASS_EACH];
        if (lane < PASS_SUMS - 32)
            whole[1] += sums[3 * warps + w][lane + 32 - 3 * PASS_EACH];
    }
#pragma unroll 1
    for (uint32_t peer = warp; peer < blocks; peer += PASS_GROUPS * warps) {
        send(&got[rank][lane], &box, peer, whole[0]);
        if (lane < PASS_SUMS - 32)
            send(&got[rank][lane + 32], &box, peer, whole[1]);
    }
    await(&box);
    float raw = 0, more = 0;
#pragma unroll
    for (uint32_t peer = 0; peer < PASS_BLOCKS; peer++)
        if (peer < blocks) {
            raw += got[peer][lane];
            more += got[peer][min(lane + 32, PASS_SUMS - 1)];
        }
    // Products of streams with each other, as the groups have them.
    auto of = [&](uint32_t group, uint32_t number) {
        uint32_t at = group * PASS_EACH + PASS_OWN + number;
        return at < 32 ? __shfl_sync(~0u, raw, at) : __shfl_sync(~0u, more, at - 32);
    };
    float aa = of(0, 0), bb = of(0, 1), cc = of(0, 2), dd = of(1, 0);
    float share = rsqrtf(((aa + bb) + (cc + dd)) * reciprocal((float)(STREAMS * in.width)) +
                         in.norm_epsilon);
    if (rank == 0 && warp == 0) {
        // The products as the groups have them; the last one is in the first lane's other sum.
        uint32_t number = lane / PASS_EACH * PASS_OWN + lane % PASS_EACH;
        float *to = in.known + row * MIX_ROWS;
        if (lane % PASS_EACH < PASS_OWN)
            to[number] = raw * share * known[mix_scale(number)] + known[3 + number];
        if (lane == 0)
            to[MIX_ROWS - 1] = more * share * known[2] + known[3 + MIX_ROWS - 1];
    }
    float weight = raw * share * known[0] + known[3 + lane % STREAMS];
    weight = reciprocal(1.f + __expf(-weight)) + in.epsilon;
    float a = __shfl_sync(~0u, weight, 0), b = __shfl_sync(~0u, weight, 1),
          c = __shfl_sync(~0u, weight, 2), d = __shfl_sync(~0u, weight, 3);
    float squares = (a * a * aa + b * b * bb) + (c * c * cc + d * d * dd);
    squares += 2.f * ((a * b * of(1, 1) + a * c * of(1, 2)) + (a * d * of(2, 0) + b * c * of(2, 1)) +
                      (b * d * of(2, 2) + c * d * of(3, 0)));
    // Rounding may leave less than nothing of streams that take each other back.
    float inverse = rsqrtf(fmaxf(squares, 0.f) * reciprocal((float)in.width) + in.norm_epsilon);
    if (!works)
        return;
    auto read = [&](float p, float q, float r, float s, float norm) {
        return (a * p + b * q + c * r + d * s) * inverse * norm;
    };
    float4 x = make_float4(read(v[0].x, v[1].x, v[2].x, v[3].x, norm.x),
                           read(v[0].y, v[1].y, v[2].y, v[3].y, norm.y),
                           read(v[0].z, v[1].z, v[2].z, v[3].z, norm.z),
                           read(v[0].w, v[1].w, v[2].w, v[3].w, norm.w));
    uint64_t at = (uint64_t)row * in.width + column;
    uint2 high = rounded(bounded4(x));
    if (group == 0)
        *(float4 *)(in.xn + at) = x;
    else if (group == 1) {
        *(uint2 *)(in.half + at) = high;
        Order order = natural(in.width);
        if (in.codes)
            write_codes(in.codes + row * order.bytes(), order, column, x);
    }
    // For products on which choices depend: with what rounding left.
    else if (group == 2)
        *(uint2 *)(in.fine + at + (uint64_t)row * in.width) = high;
    else
        *(uint2 *)(in.fine + at + (uint64_t)(row + 1) * in.width) = remainder(x, high);
#endif
}
