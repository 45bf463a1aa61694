// Attention of few rows that see much: a cluster of blocks has sixteen heads of a row, each block a
// part of what the row sees. Parts meet in the blocks' shared memory, so that no other kernel has
// to join them; heads are normed and turned as they are loaded.
//
// As in `attend_tiles.cu` stored rows are expanded to binary16, in which they are exact. A warp has
// a quarter of the channels of the scores of half the rows, then 64 channels of the result.
#include "cluster.cuh"
#include "codes.cuh"
#include "look.cuh"
#include "seen.cuh"

constexpr int FEW_HEADS = 16, FEW_ROWS = 48, FEW_PARTS = 16, FEW_BYTES = 584;

struct AttendFew {
    float *out;
    __half *half;
    uint8_t *codes;
    const float *q;
    const Row *rows;
    const uint32_t *picks; // null: all complete rows are seen
    const float *sinks;
    const float2 *angles;
    Memory memory;
    Place at;
    uint32_t heads, picks_width, draft;
    float epsilon;
};

struct FewShared {
    uint8_t query[FEW_HEADS * HEAD * 2];
    union {
        uint8_t rows[FEW_ROWS * HEAD * 2];
        // What all parts have of this one's channels, when rows are done with.
        float got[FEW_HEADS * HEAD];
    };
    uint8_t stored[FEW_ROWS * FEW_BYTES];
    float scores[4][FEW_HEADS][FEW_ROWS + 1];
    __half shares[FEW_HEADS][FEW_ROWS + 8];
    const uint8_t *from[FEW_ROWS];
    float state[2 * FEW_HEADS], states[FEW_PARTS][2 * FEW_HEADS], shrink[FEW_HEADS];
    uint64_t boxes[2];
};

#if __CUDA_ARCH__ >= 900
__device__ inline void few_copy(FewShared &look) {
    for (uint32_t r = threadIdx.x / 32; r < FEW_ROWS; r += 8) {
        const uint8_t *from = look.from[r];
        if (from)
            for (uint32_t c = threadIdx.x % 32; c < FEW_BYTES / 8; c += 32)
                copy8(look.stored + r * FEW_BYTES + c * 8, from + c * 8);
    }
}

// Sixteen heads as binary16, normed and turned; two a warp.
__device__ inline void few_query(FewShared &look, const AttendFew &in, uint32_t number,
                                 uint32_t first_head) {
    uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32;
    float4 v[2][4], turn = make_float4(1, 0, 1, 0);
    if (lane >= 16)
        turn = *(const float4 *)(in.angles + (uint64_t)number * PAIRS + (lane - 16) * 2);
#pragma unroll
    for (int h = 0; h < 2; h++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
            uint32_t head = first_head + 2 * warp + h;
            v[h][i] = make_float4(0, 0, 0, 0);
            if (head < in.heads)
                v[h][i] = *((const float4 *)(in.q + ((uint64_t)number * in.heads + head) * HEAD) +
                            32 * i + lane);
        }
#pragma unroll
    for (int h = 0; h < 2; h++) {
        float squares = warp_sum((sum_of_squares(v[h][0]) + sum_of_squares(v[h][1])) +
                                 (sum_of_squares(v[h][2]) + sum_of_squares(v[h][3])));
        float scale = 1.f / sqrtf(squares / HEAD + in.epsilon);
#pragma unroll
        for (int i = 0; i < 4; i++) {
            float4 a = v[h][i];
            a = make_float4(a.x * scale, a.y * scale, a.z * scale, a.w * scale);
            if (i == 3)
                a = rotate(a, turn, false);
            uint32_t channel = 128 * i + 4 * lane;
            *(uint2 *)(look.query + look_place(2 * warp + h, channel / 8) + channel % 8 * 2) =
                rounded(a);
        }
    }
}

__device__ inline void few_expand(FewShared &look, uint32_t count) {
    for (uint32_t i = threadIdx.x; i < FEW_ROWS * HEAD / 8; i += 256) {
        uint32_t r = i / (HEAD / 8), chunk = i % (HEAD / 8);
        *(uint4 *)(look.rows + look_place(r, chunk)) =
            r < count ? expand_chunk(look.stored + r * FEW_BYTES, chunk) : make_uint4(0, 0, 0, 0);
    }
}

// Scores of sixteen heads by all rows, of a quarter of the channels.
__device__ inline void few_scores(FewShared &look) {
    uint32_t warp = threadIdx.x / 32, lane = threadIdx.x % 32, g = lane / 4, quad = lane % 4;
    uint32_t quarter = warp % 4, first = warp / 4 * (FEW_ROWS / 2);
    float score[3][4] = {};
#pragma unroll
    for (int k = 0; k < 4; k++) {
        uint32_t chunk = quarter * 16 + 4 * k + quad;
        uint4 low = *(const uint4 *)(look.query + look_place(g, chunk));
        uint4 high = *(const uint4 *)(look.query + look_place(g + 8, chunk));
#pragma unroll
        for (int s = 0; s < 3; s++) {
            uint4 v = *(const uint4 *)(look.rows + look_place(first + 8 * s + g, chunk));
            multiply(score[s], make_uint2(low.x, low.y), make_uint2(high.x, high.y), v.x, v.y);
            multiply(score[s], make_uint2(low.z, low.w), make_uint2(high.z, high.w), v.z, v.w);
        }
    }
#pragma unroll
    for (int s = 0; s < 3; s++)
#pragma unroll
        for (int k = 0; k < 4; k++)
            look.scores[quarter][g + 8 * (k / 2)][first + 8 * s + 2 * quad + k % 2] = score[s][k];
}

// Sends a pair of sums where part `rank` has what lies at `own` here.
__device__ inline void send_pair(const float *own, const uint64_t *box, uint32_t rank, float a,
                                 float b) {
    asm volatile(
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.b32 [%0], {%1, %2}, [%3];" ::"r"(
            in_peer(own, rank)),
        "r"(__float_as_uint(a)), "r"(__float_as_uint(b)), "r"(in_peer(box, rank))
        : "memory");
}
#endif

extern "C" __global__ void __launch_bounds__(256, 2)
    attend_few(const __grid_constant__ AttendFew in) {
#if __CUDA_ARCH__ >= 900
    let_next_begin();
    extern __shared__ __align__(128) uint8_t shared[];
    FewShared &look = *(FewShared *)shared;
    uint32_t t = threadIdx.x, warp = t / 32, lane = t % 32, g = lane / 4, quad = lane % 4;
    uint32_t part = blockIdx.x, parts = gridDim.x, number = blockIdx.z,
             first_head = blockIdx.y * FEW_HEADS;
    if (t == 0) {
        open_box(&look.boxes[0], parts * 2 * FEW_HEADS * 4);
        open_box(&look.boxes[1], FEW_HEADS * HEAD * 4);
    }
    cluster_arrive();
    // The plan was there before the step began, and so were all rows but those of this token.
    Row row = in.rows[number];
    Seen seen(in.memory, row, in.at, in.draft, nullptr, nullptr, 0, number);
    if (in.picks) {
        seen.picks = in.picks + (uint64_t)number * in.picks_width;
        seen.all = seen.in_window + min((row.pos + 1) / 4, in.picks_width);
    }
    uint32_t share = (seen.all + parts - 1) / parts;
    uint32_t begin = min(part * share, seen.all), end = min(begin + share, seen.all);
    auto known = [&](uint32_t i) {
        if (i < seen.in_window)
            return seen.first + i < row.run_pos;
        return !in.picks && i - seen.in_window < row.pos / in.at.ratio;
    };
    auto fetch = [&](uint32_t base, bool early, bool late) {
        if (t < FEW_ROWS) {
            uint32_t i = base + t;
            bool wanted = i < end && (known(i) ? early : late);
            look.from[t] = wanted ? seen.row(in.memory, in.at, row, i) : nullptr;
        }
        __syncthreads();
        few_copy(look);
        copies_end();
    };
    fetch(begin, true, false);
    __syncthreads();
    after_others();
    fetch(begin, false, true);
    few_query(look, in, number, first_head);
    if (part == 0 && blockIdx.y == 0)
        // A token that comes alone takes the place of one that no longer is in the window.
        commit_row(in.rows, in.memory, in.at, number);
    float top = -INFINITY, total = 0, sums[8][4] = {};
    float scale = 1.f / sqrtf((float)HEAD);
    uint32_t head = t / 16, place = t % 16;
    for (uint32_t base = begin; base < end; base += FEW_ROWS) {
        uint32_t count = min(end - base, (uint32_t)FEW_ROWS);
        copies_wait<0>();
        __syncthreads();
        few_expand(look, count);
        __syncthreads();
        if (base + FEW_ROWS < end)
            fetch(base + FEW_ROWS, true, true);
        few_scores(look);
        __syncthreads();
        {
            float v[3], most = -INFINITY, more = 0;
#pragma unroll
            for (int i = 0; i < 3; i++) {
                uint32_t r = place + 16 * i;
                v[i] = (look.scores[0][head][r] + look.scores[1][head][r]) +
                       (look.scores[2][head][r] + look.scores[3][head][r]);
                v[i] = r < count ? v[i] * scale : -INFINITY;
                most = fmaxf(most, v[i]);
            }
#pragma unroll
            for (int step = 8; step; step >>= 1)
                most = fmaxf(most, __shfl_xor_sync(~0u, most, step));
            float higher = fmaxf(top, most), shrink = __expf(top - higher);
#pragma unroll
            for (int i = 0; i < 3; i++) {
                __half share = __float2half_rn(__expf(v[i] - higher));
                look.shares[head][place + 16 * i] = share;
                more += __half2float(share);
            }
#pragma unroll
            for (int step = 8; step; step >>= 1)
                more += __shfl_xor_sync(~0u, more, step);
            top = higher, total = total * shrink + more;
            if (place == 0)
                look.shrink[head] = shrink;
        }
        __syncthreads();
        float low_shrink = look.shrink[g], high_shrink = look.shrink[g + 8];
#pragma unroll
        for (int c = 0; c < 8; c++)
            sums[c][0] *= low_shrink, sums[c][1] *= low_shrink, sums[c][2] *= high_shrink,
                sums[c][3] *= high_shrink;
#pragma unroll
        for (int k = 0; k < FEW_ROWS / 16; k++) {
            const __half *from = &look.shares[g][16 * k + 2 * quad];
            const __half *next = &look.shares[g + 8][16 * k + 2 * quad];
            uint2 low = make_uint2(*(const uint32_t *)from, *(const uint32_t *)(from + 8));
            uint2 high = make_uint2(*(const uint32_t *)next, *(const uint32_t *)(next + 8));
#pragma unroll
            for (int c = 0; c < 4; c++) {
                uint4 v = turned(look.rows + look_place(16 * k + lane % 16,
                                                        warp * 8 + 2 * c + lane / 16));
                multiply(sums[2 * c], low, high, v.x, v.y);
                multiply(sums[2 * c + 1], low, high, v.z, v.w);
            }
        }
        __syncthreads();
    }
    // Parts tell each other their largest scores and totals, then give each other sums.
    if (place == 0)
        look.state[2 * head] = top, look.state[2 * head + 1] = total;
    cluster_wait();
    __syncthreads();
    for (uint32_t peer = warp; peer < parts; peer += 8)
        send(&look.states[part][lane], &look.boxes[0], peer, look.state[lane]);
    await(&look.boxes[0]);
    {
        float sink = first_head + head < in.heads ? in.sinks[first_head + head] : 0;
        float there = place < parts ? look.states[place][2 * head] : -INFINITY, most = there;
        float all = place < parts ? look.states[place][2 * head + 1] : 0;
#pragma unroll
        for (int step = 8; step; step >>= 1)
            most = fmaxf(most, __shfl_xor_sync(~0u, most, step));
        most = fmaxf(most, sink);
        all *= __expf(there - most);
#pragma unroll
        for (int step = 8; step; step >>= 1)
            all += __shfl_xor_sync(~0u, all, step);
        if (place == 0)
            look.shrink[head] = __expf(top - most) / (all + __expf(sink - most));
    }
    __syncthreads();
    uint32_t slice = HEAD / parts;
    float low = look.shrink[g], high = look.shrink[g + 8];
#pragma unroll
    for (int c = 0; c < 8; c++) {
        uint32_t channel = warp * 64 + c * 8 + 2 * quad, at = channel % slice;
        const float *to = look.got + (part * FEW_HEADS + g) * slice + at;
        send_pair(to, &look.boxes[1], channel / slice, sums[c][0] * low, sums[c][1] * low);
        send_pair(to + 8 * slice, &look.boxes[1], channel / slice, sums[c][2] * high,
                  sums[c][3] * high);
    }
    await(&look.boxes[1]);
    Order order = natural(in.heads * HEAD);
    for (uint32_t i = t; i < FEW_HEADS * slice / 4; i += 256) {
        uint32_t own = i / (slice / 4), at = i % (slice / 4) * 4, channel = part * slice + at;
        if (first_head + own >= in.heads)
            break;
        float4 v = make_float4(0, 0, 0, 0);
#pragma unroll 4
        for (uint32_t p = 0; p < parts; p++) {
            float4 more = *(const float4 *)(look.got + (p * FEW_HEADS + own) * slice + at);
            v = make_float4(v.x + more.x, v.y + more.y, v.z + more.z, v.w + more.w);
        }
        if (channel >= PLAIN)
            v = rotate(v,
                       *(const float4 *)(in.angles + (uint64_t)number * PAIRS +
                                         (channel - PLAIN) / 2),
                       true);
        uint32_t to = (first_head + own) * HEAD + channel;
        uint64_t first = (uint64_t)number * in.heads * HEAD;
        *(float4 *)(in.out + first + to) = v;
        *(uint2 *)(in.half + first + to) = rounded(bounded4(v));
        write_codes(in.codes + (uint64_t)number * order.bytes(), order, to, v);
    }
#endif
}
