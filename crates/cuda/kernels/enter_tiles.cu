// Hyper-connections of many rows: the streams of sixteen rows meet the mix matrix on tensor cores,
// each value as the sum of two binary16, which together hold 22 bits.
#include "halves.cuh"
#include "hyper.cuh"

constexpr int ENTER_TOKENS = 16, ENTER_WARPS = 8, MIXES = 24;

extern "C" __global__ void __launch_bounds__(32 * ENTER_WARPS)
    hyper_enter_tiles(float *x, float *mix, const float *streams, Weight w, const float *scale,
                      const float *base, uint32_t n, uint32_t width, uint32_t rounds,
                      float norm_epsilon, float epsilon) {
    in_turn();
    __shared__ float parts[ENTER_WARPS][ENTER_TOKENS][MIXES + 1], raw[ENTER_TOKENS][MIXES + 1],
        pre[ENTER_TOKENS][STREAMS];
    uint32_t t = threadIdx.x, warp = t / 32, lane = t % 32, g = lane / 4, quad = lane % 4;
    uint32_t start = blockIdx.x * ENTER_TOKENS, count = min(n - start, (uint32_t)ENTER_TOKENS);
    uint32_t wide = STREAMS * width, groups = wide / 32;
    const float *from[2];
#pragma unroll
    for (int s = 0; s < 2; s++)
        from[s] = streams + (uint64_t)(start + min(8 * s + g, count - 1)) * wide + 32 * quad;
    float sums[2][2][4] = {}, squares[2] = {};
    for (uint32_t window = warp; window < wide / 128; window += ENTER_WARPS) {
        Raw<F16> a[3];
#pragma unroll
        for (int r = 0; r < 3; r++)
            a[r].load(w, (uint64_t)(g + 8 * r) * groups + window * 4 + quad);
#pragma unroll
        for (int i = 0; i < 4; i++)
#pragma unroll
            for (int s = 0; s < 2; s++) {
                const float4 *at = (const float4 *)(from[s] + window * 128 + 8 * i);
                float4 v = at[0], u = at[1];
                squares[s] += sum_of_squares(v) + sum_of_squares(u);
                uint2 vh = rounded(bounded4(v)), uh = rounded(bounded4(u));
                uint2 vl = remainder(v, vh), ul = remainder(u, uh), none = make_uint2(0, 0);
                multiply(sums[0][s], a[0].at(2 * i, 0), a[1].at(2 * i, 0), vh.x, vh.y);
                multiply(sums[1][s], a[2].at(2 * i, 0), none, vh.x, vh.y);
                multiply(sums[0][s], a[0].at(2 * i, 0), a[1].at(2 * i, 0), vl.x, vl.y);
                multiply(sums[1][s], a[2].at(2 * i, 0), none, vl.x, vl.y);
                multiply(sums[0][s], a[0].at(2 * i + 1, 0), a[1].at(2 * i + 1, 0), uh.x, uh.y);
                multiply(sums[1][s], a[2].at(2 * i + 1, 0), none, uh.x, uh.y);
                multiply(sums[0][s], a[0].at(2 * i + 1, 0), a[1].at(2 * i + 1, 0), ul.x, ul.y);
                multiply(sums[1][s], a[2].at(2 * i + 1, 0), none, ul.x, ul.y);
            }
    }
#pragma unroll
    for (int s = 0; s < 2; s++) {
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t token = 8 * s + 2 * quad + k % 2;
            parts[warp][token][g + 8 * (k / 2)] = sums[0][s][k];
            if (k < 2)
                parts[warp][token][g + 16] = sums[1][s][k];
        }
        float sum = squares[s] + __shfl_xor_sync(~0u, squares[s], 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        if (quad == 0)
            parts[warp][8 * s + g][MIXES] = sum;
    }
    __syncthreads();
    for (uint32_t i = t; i < ENTER_TOKENS * (MIXES + 1); i += 32 * ENTER_WARPS) {
        float sum = 0;
        for (int k = 0; k < ENTER_WARPS; k++)
            sum += parts[k][i / (MIXES + 1)][i % (MIXES + 1)];
        raw[i / (MIXES + 1)][i % (MIXES + 1)] = sum;
    }
    __syncthreads();
    for (uint32_t token = warp; token < count; token += ENTER_WARPS) {
        float share = 1.f / sqrtf(raw[token][MIXES] / (float)wide + norm_epsilon);
        mix_weights(pre[token], mix + (uint64_t)(start + token) * 20, raw[token], share, scale,
                    base, rounds, epsilon);
    }
    __syncthreads();
    for (uint32_t token = 0; token < count; token++) {
        const float4 *in = (const float4 *)(streams + (uint64_t)(start + token) * wide);
        float4 *out = (float4 *)(x + (uint64_t)(start + token) * width);
        float a = pre[token][0], b = pre[token][1], c = pre[token][2], d = pre[token][3];
        uint32_t quarter = width / 4;
        for (uint32_t i = t; i < quarter; i += 32 * ENTER_WARPS) {
            float4 e = in[i], f = in[quarter + i], h = in[2 * quarter + i], j = in[3 * quarter + i];
            out[i] = make_float4(a * e.x + b * f.x + c * h.x + d * j.x,
                                 a * e.y + b * f.y + c * h.y + d * j.y,
                                 a * e.z + b * f.z + c * h.z + d * j.z,
                                 a * e.w + b * f.w + c * h.w + d * j.w);
        }
    }
}
