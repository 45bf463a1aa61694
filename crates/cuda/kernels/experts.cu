// Mixture of experts. Few rows: each pick is a matrix-vector product of its own. Many rows: picks
// gathered by expert, then tiles (see matmul.cu) over the gathered rows.
#include "formats.cuh"

__device__ inline float swiglu(float gate, float up, float limit) {
    gate = fminf(gate, limit);
    return gate * sigmoid(gate) * fminf(fmaxf(up, -limit), limit);
}

// hidden[pick] = weight * swiglu(gate x, up x): two rows of both matrices a block.
template <class Group>
__device__ void gate_up(float *hidden, const float *x, Weight gate, Weight up, const uint32_t *ids,
                        const float *weights, uint32_t used, float limit) {
    __shared__ float parts[8][4];
    uint32_t groups = gate.cols / 32, pick = blockIdx.y, first = blockIdx.x * 2;
    const float *in = x + (uint64_t)(pick / used) * gate.cols;
    uint64_t row = (uint64_t)ids[pick] * gate.rows + first;
    uint32_t next = first + 1 < gate.rows ? 1 : 0;
    float sums[4] = {};
    for (uint32_t g = threadIdx.x; g < groups; g += blockDim.x) {
        Group a(gate, row * groups + g), b(gate, (row + next) * groups + g);
        Group c(up, row * groups + g), d(up, (row + next) * groups + g);
#pragma unroll
        for (int i = 0; i < 8; i++) {
            float4 v = *(const float4 *)(in + 32 * g + 4 * i);
            auto dot = [&](float4 w) { return w.x * v.x + w.y * v.y + w.z * v.z + w.w * v.w; };
            sums[0] += dot(a.at(i)), sums[1] += dot(b.at(i)), sums[2] += dot(c.at(i)),
                sums[3] += dot(d.at(i));
        }
    }
    for (int i = 0; i < 4; i++) {
        float sum = warp_sum(sums[i]);
        if (threadIdx.x % 32 == 0)
            parts[threadIdx.x / 32][i] = sum;
    }
    __syncthreads();
    if (threadIdx.x < 2 && first + threadIdx.x < gate.rows) {
        float a = 0, b = 0;
        for (uint32_t k = 0; k < blockDim.x / 32; k++)
            a += parts[k][threadIdx.x], b += parts[k][2 + threadIdx.x];
        hidden[(uint64_t)pick * gate.rows + first + threadIdx.x] =
            swiglu(a, b, limit) * weights[pick];
    }
}

// y[token] = shared[token] + sum over its picks of down(hidden[pick]): four rows a block.
template <class Group>
__device__ void down(float *y, const float *hidden, const float *shared, Weight w,
                     const uint32_t *ids, uint32_t used) {
    __shared__ float parts[8][4];
    uint32_t groups = w.cols / 32, token = blockIdx.y, first = blockIdx.x * 4;
    float sums[4] = {};
    // Threads go over (pick, group) pairs, so that short rows keep them all busy.
    for (uint32_t i = threadIdx.x; i < groups * used; i += blockDim.x) {
        uint32_t pick = token * used + i / groups, g = i % groups;
        uint64_t row = (uint64_t)ids[pick] * w.rows;
        const float *in = hidden + (uint64_t)pick * w.cols + 32 * g;
        auto group = [&](int r) {
            return Group(w, (row + min(first + r, w.rows - 1)) * groups + g);
        };
        Group a = group(0), b = group(1), c = group(2), d = group(3);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            float4 v = *(const float4 *)(in + 4 * k);
            auto dot = [&](float4 w) { return w.x * v.x + w.y * v.y + w.z * v.z + w.w * v.w; };
            sums[0] += dot(a.at(k)), sums[1] += dot(b.at(k)), sums[2] += dot(c.at(k)),
                sums[3] += dot(d.at(k));
        }
    }
    for (int r = 0; r < 4; r++) {
        float sum = warp_sum(sums[r]);
        if (threadIdx.x % 32 == 0)
            parts[threadIdx.x / 32][r] = sum;
    }
    __syncthreads();
    if (threadIdx.x < 4 && first + threadIdx.x < w.rows) {
        uint64_t at = (uint64_t)token * w.rows + first + threadIdx.x;
        float sum = 0;
        for (uint32_t k = 0; k < blockDim.x / 32; k++)
            sum += parts[k][threadIdx.x];
        y[at] = sum + shared[at];
    }
}

#define EXPERTS(FORMAT)                                                                            \
    extern "C" __global__ void __launch_bounds__(128)                                              \
        gate_up_##FORMAT(float *hidden, const float *x, Weight gate, Weight up,                    \
                         const uint32_t *ids, const float *weights, uint32_t used, float limit) {  \
        in_turn();                                                                        \
        gate_up<FORMAT>(hidden, x, gate, up, ids, weights, used, limit);                           \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(256)                                              \
        down_##FORMAT(float *y, const float *hidden, const float *shared, Weight w,                \
                      const uint32_t *ids, uint32_t used) {                                        \
        in_turn();                                                                        \
        down<FORMAT>(y, hidden, shared, w, ids, used);                                             \
    }
EXPERTS(F32)
EXPERTS(F16) EXPERTS(BF16) EXPERTS(Q8_0) EXPERTS(Q2_K) EXPERTS(Q4_K) EXPERTS(IQ2_XXS) EXPERTS(MXFP4)

    constexpr int GATHER_WARPS = 16, MOST_EXPERTS = 1024;

// Gathers the picks of `n` rows by expert, in order of rows, and cuts the lists into tiles of
// up to `tokens`. One block: each warp counts, then places, a stretch of the picks; `counts` has
// room for all experts of each.
__device__ inline void gather(const uint32_t *ids, const float *weights, uint32_t n, uint32_t used,
                              uint32_t experts, uint32_t tokens, uint32_t *token_of,
                              float *weight_of, uint32_t *place_of, Tile *tiles,
                              uint32_t *tile_count, uint32_t *counts) {
    __shared__ uint32_t starts[MOST_EXPERTS + 1], tile_starts[MOST_EXPERTS + 1];
    uint32_t t = threadIdx.x, warp = t / 32, lane = t % 32, picks = n * used;
    uint32_t share = (picks + 32 * GATHER_WARPS - 1) / (32 * GATHER_WARPS) * 32;
    uint32_t begin = min(warp * share, picks), end = min(begin + share, picks);
    for (uint32_t i = t; i < experts * GATHER_WARPS; i += blockDim.x)
        counts[i] = 0;
    __syncthreads();
    // Visits the warp's picks in order; `visit` learns how many of the same expert came before.
    auto each = [&](auto visit) {
        for (uint32_t base = begin; base < end; base += 32) {
            uint32_t i = base + lane, id = i < end ? ids[i] : ~0u;
            uint32_t same = __match_any_sync(~0u, id), earlier = __popc(same & ((1u << lane) - 1));
            uint32_t *count = counts + warp * experts + id;
            uint32_t before = i < end ? *count + earlier : 0;
            __syncwarp();
            if (i < end && earlier == 0)
                *count += __popc(same);
            __syncwarp();
            if (i < end)
                visit(i, id, before);
        }
    };
    each([](uint32_t, uint32_t, uint32_t) {});
    __syncthreads();
    for (uint32_t e = t; e < experts; e += blockDim.x) {
        uint32_t sum = 0;
        for (int w = 0; w < GATHER_WARPS; w++) {
            uint32_t count = counts[w * experts + e];
            counts[w * experts + e] = sum;
            sum += count;
        }
        starts[e + 1] = sum;
        tile_starts[e + 1] = (sum + tokens - 1) / tokens;
    }
    __syncthreads();
    if (warp < 2) {
        uint32_t *list = warp ? tile_starts : starts, sum = 0;
        if (lane == 0)
            list[0] = 0;
        for (uint32_t base = 1; base <= experts; base += 32) {
            uint32_t v = base + lane <= experts ? list[base + lane] : 0;
            for (int step = 1; step < 32; step *= 2) {
                uint32_t other = __shfl_up_sync(~0u, v, step);
                v += lane >= step ? other : 0;
            }
            v += sum;
            if (base + lane <= experts)
                list[base + lane] = v;
            sum = __shfl_sync(~0u, v, 31);
        }
    }
    __syncthreads();
    if (t == 0)
        *tile_count = tile_starts[experts];
    for (uint32_t e = t; e < experts; e += blockDim.x)
        for (uint32_t i = 0; i < tile_starts[e + 1] - tile_starts[e]; i++) {
            uint32_t start = starts[e] + i * tokens;
            tiles[tile_starts[e] + i] = {e, start, min(starts[e + 1] - start, tokens), 0};
        }
    each([&](uint32_t i, uint32_t id, uint32_t before) {
        uint32_t place = starts[id] + before;
        token_of[place] = i / used;
        weight_of[place] = weights[i];
        place_of[i] = place;
    });
}

extern "C" __global__ void __launch_bounds__(32 * GATHER_WARPS)
    gather_picks(const uint32_t *ids, const float *weights, uint32_t n, uint32_t used,
                 uint32_t experts, uint32_t tokens, uint32_t *token_of, float *weight_of,
                 uint32_t *place_of, Tile *tiles, uint32_t *tile_count) {
    in_turn();
    extern __shared__ uint32_t counts[];
    gather(ids, weights, n, used, experts, tokens, token_of, weight_of, place_of, tiles, tile_count,
           counts);
}

// gate = swiglu(gate, up), times each row's weight where there is one.
extern "C" __global__ void gated(float *gate, const float *up, const float *weight_of,
                                 uint32_t width, float limit) {
    in_turn();
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= width)
        return;
    uint64_t at = (uint64_t)blockIdx.y * width + i;
    gate[at] = swiglu(gate[at], up[at], limit) * (weight_of ? weight_of[blockIdx.y] : 1.f);
}

// y[token] = shared[token] + the results of its picks, in order of picks.
extern "C" __global__ void combine(float *y, const float *parts, const float *shared,
                                   const uint32_t *place_of, uint32_t used, uint32_t width) {
    in_turn();
    uint32_t i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= width)
        return;
    float sum = 0;
    for (uint32_t j = 0; j < used; j++)
        sum += parts[(uint64_t)place_of[blockIdx.y * used + j] * width + i];
    y[(uint64_t)blockIdx.y * width + i] = sum + shared[(uint64_t)blockIdx.y * width + i];
}
