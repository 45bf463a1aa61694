// Compressors: windows of tokens pooled into rows, channel by channel, with the softmax of an open
// window carried as three numbers (see the CPU's compress.rs, whose additions these are, in the
// same order).
//
// Windows do not depend on each other but for half A of the one before, which is pooled again from
// its tokens. So each window of a run is a block of its own.
#include "rows.cuh"

struct Sum {
    float max, sum, weighted;
    __device__ void clear() { max = -INFINITY, sum = 0, weighted = 0; }
    __device__ void push(float z, float u) {
        if (z > max) {
            float shrink = expf(max - z);
            sum = sum * shrink + 1.f;
            weighted = weighted * shrink + u;
            max = z;
        } else {
            float e = expf(z - max);
            sum += e;
            weighted += e * u;
        }
    }
    __device__ void load(const float *pool, uint32_t lane, uint32_t d, uint32_t channel) {
        pool += lane * 3 * d + channel;
        max = pool[0], sum = pool[d], weighted = pool[2 * d];
    }
    __device__ void store(float *pool, uint32_t lane, uint32_t d, uint32_t channel) const {
        pool += lane * 3 * d + channel;
        pool[0] = max, pool[d] = sum, pool[2 * d] = weighted;
    }
};

// Pools one window that a run touches; a thread a channel. Complete windows go to `pooled`, row
// blockIdx.x; the sums that the run leaves behind go to `left`, because other blocks still read the
// old ones.
extern "C" __global__ void pool_windows(float *pooled, float *left, const float *u, const float *z,
                                        const float *ape, const Window *windows, const Run *runs,
                                        const float *pools, uint32_t pool_floats, uint32_t pool_at,
                                        uint32_t ratio, uint32_t d) {
    in_turn();
    uint32_t channel = blockIdx.y * blockDim.x + threadIdx.x;
    if (channel >= d)
        return;
    Window window = windows[blockIdx.x];
    Run run = runs[window.run];
    const float *pool = pools + (uint64_t)run.slot * pool_floats + pool_at;
    uint32_t halves = ratio == 4 ? 2 : 1, width = halves * d;
    uint32_t begin = window.number * ratio, end = begin + ratio, run_end = run.pos + run.rows;
    auto feed = [&](Sum &sum, uint32_t from, uint32_t to, uint32_t at) {
        for (uint32_t pos = from; pos < to; pos++) {
            uint64_t row = (uint64_t)(run.row + pos - run.pos) * width + at;
            sum.push(z[row] + ape[pos % ratio * width + at], u[row]);
        }
    };
    uint32_t from = max(begin, run.pos), to = min(end, run_end);
    bool opened = begin <= run.pos;
    bool complete = end <= run_end, last = run_end <= end;
    float *out = left + (uint64_t)window.run * 9 * d;
    if (ratio == 4) {
        // Lanes of the pool: half A of the last complete window, open A, open B.
        Sum before, a, b;
        a.clear(), b.clear();
        if (opened) {
            before.load(pool, 0, d, channel);
            if (begin < run.pos)
                a.load(pool, 1, d, channel), b.load(pool, 2, d, channel);
        } else {
            uint32_t earlier = begin - ratio;
            before.clear();
            if (earlier < run.pos)
                before.load(pool, 1, d, channel);
            feed(before, max(earlier, run.pos), begin, channel);
        }
        feed(a, from, to, channel);
        feed(b, from, to, d + channel);
        if (complete) {
            float top = fmaxf(b.max, before.max), e = expf(before.max - top), f = expf(b.max - top);
            pooled[(uint64_t)blockIdx.x * d + channel] =
                (before.weighted * e + b.weighted * f) / (before.sum * e + b.sum * f);
            before = a;
            a.clear(), b.clear();
        }
        if (last)
            before.store(out, 0, d, channel), a.store(out, 1, d, channel),
                b.store(out, 2, d, channel);
    } else {
        Sum open;
        open.clear();
        if (begin < run.pos)
            open.load(pool, 0, d, channel);
        feed(open, from, to, channel);
        if (complete) {
            pooled[(uint64_t)blockIdx.x * d + channel] = open.weighted / open.sum;
            open.clear();
        }
        if (last)
            open.store(out, 0, d, channel);
    }
}

// Norm, rope and rounding of a pooled window, four channels a thread, which joins its page. A block.
__device__ inline void emit(float4 v, const float *weight, const float *frequencies,
                            const Memory &memory, const Place &at, uint32_t slot, uint32_t number,
                            uint32_t d, float epsilon) {
    int t = threadIdx.x;
    bool index = d == INDEX;
    // Index rows take one warp; the others only help with the sum.
    bool mine = 4 * t < (int)d;
    float scale = 1.f / sqrtf(block_sum(sum_of_squares(v)) / (float)d + epsilon);
    if (!mine)
        return;
    float4 w = ((const float4 *)weight)[t];
    v = make_float4(v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w);
    int pair = (4 * t - (int)(d - ROTARY)) / 2;
    if (4 * t >= (int)(d - ROTARY)) {
        // The position of a row is that of its window's first token.
        float pos = (float)(number * at.ratio);
        double s0, c0, s1, c1;
        sincos((double)(pos * frequencies[PAIRS + pair]), &s0, &c0);
        sincos((double)(pos * frequencies[PAIRS + pair + 1]), &s1, &c1);
        v = rotate(v, make_float4((float)c0, (float)s0, (float)c1, (float)s1), false);
    }
    uint8_t *row = page_row(memory, at, slot, number, index);
    if (index)
        write_index(memory, row, v);
    else
        write_latent(memory, row, v);
}

// Norm, rope and rounding of complete windows (blocks of `windows`), which join the pages; and the
// sums left behind, which join the pools (one more block a run).
extern "C" __global__ void __launch_bounds__(ROW_THREADS)
    emit_rows(const float *pooled, const float *left, const float *weight, const Window *windows,
              uint32_t count, const Run *runs, const float *frequencies, Memory memory, Place at,
              uint32_t pool_at, uint32_t d, float epsilon) {
    in_turn();
    int t = threadIdx.x;
    if (blockIdx.x >= count) {
        uint32_t run = blockIdx.x - count, floats = (at.ratio == 4 ? 9 : 3) * d;
        float *pool = memory.pools + (uint64_t)runs[run].slot * memory.pool_floats + pool_at;
        for (uint32_t i = t; i < floats; i += blockDim.x)
            pool[i] = left[(uint64_t)run * 9 * d + i];
        return;
    }
    Window window = windows[blockIdx.x];
    Run run = runs[window.run];
    if ((window.number + 1) * at.ratio > run.pos + run.rows)
        return;
    float4 v = make_float4(0, 0, 0, 0);
    if (4 * t < (int)d)
        v = *((const float4 *)(pooled + (uint64_t)blockIdx.x * d) + t);
    emit(v, weight, frequencies, memory, at, run.slot, window.number, d, epsilon);
}
