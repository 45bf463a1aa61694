// Attention of many rows of a prompt, on Hopper.
//
// Queries come as binary16, results leave as that and, where `out` is given, as floats too.
//
// What the rows of a run may see is first expanded to binary16, in which it is exact, so that none of
// them decodes it again: its window's rows one after the other, then the compressed ones by number.
// Then a block carries 64 heads of a row over all that the row sees, 64 rows at a time, gathered into
// shared memory a tile ahead. Both of its groups of four warps take all scores, so that neither waits
// for the other, and each sums half of the channels.
#include "halves.cuh"
#include "seen.cuh"
#include "warpgroup.cuh"

constexpr int LOOKED = 64, ROW_HALVES = HEAD, NOT_EXPANDED = -1;

// Rows of a run's window, and of the tokens before it that it still sees.
__device__ inline uint32_t window_rows(const Memory &m, uint32_t pos, uint32_t rows) {
    return min(m.window - 1, pos) + rows;
}

// A warp a row. `bases` says where each run's rows begin in `out`, or that they are not expanded.
extern "C" __global__ void __launch_bounds__(256)
    expand_rows(__half *out, const Run *runs, const uint32_t *bases, Memory memory, Place at) {
    in_turn();
    Run run = runs[blockIdx.y];
    uint32_t base = bases[blockIdx.y], i = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x % 32;
    uint32_t window = window_rows(memory, run.pos, run.rows);
    uint32_t all = window + (at.ratio ? (run.pos + run.rows) / at.ratio : 0);
    if (base == (uint32_t)NOT_EXPANDED || i >= all)
        return;
    const uint8_t *from;
    uint32_t pos = run.pos + run.rows + i - window;
    if (i >= window)
        from = page_row(memory, at, run.slot, i - window, false);
    else if (pos >= run.pos)
        from = memory.fresh + (uint64_t)(run.row + pos - run.pos) * memory.latent_bytes;
    else
        from = ring_row(memory, at, run.slot, pos);
    uint4 *to = (uint4 *)(out + (uint64_t)(base + i) * ROW_HALVES);
    to[lane] = expand_chunk(from, lane);
    to[lane + 32] = expand_chunk(from, lane + 32);
}

#if BY_WARPGROUP
#define SIXTY_FOUR(c, i) SIXTEEN(c, i), SIXTEEN(c, i + 4), SIXTEEN(c, i + 8), SIXTEEN(c, i + 12)

// Where a tile's sixteen channels from 16 step on are, for products along channels.
__device__ inline uint64_t along_channels(const uint8_t *tile, int step) {
    return describe<LOOKED>(tile, step);
}
// Where 256 channels of the sixteen rows from 16 step on are, for products along rows.
__device__ inline uint64_t along_rows(const uint8_t *half_tile, int step) {
    uint64_t at = (uint32_t)__cvta_generic_to_shared(half_tile) + step * 16 * 128;
    return (at & 0x3ffff) >> 4 | (uint64_t)(LOOKED * 128 >> 4) << 16 | (uint64_t)(1024 >> 4) << 32 |
           1ull << 62;
}

// c (+)= a b for 64 rows of a and 64 of b, both in shared memory.
template <int ADD>
__device__ inline void multiply_rows(float (&c)[8][4], uint64_t a, uint64_t b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,"
                 "%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, %32, %33, %34, 1, 1, 0, 0;"
                 : SIXTEEN(c, 0), SIXTEEN(c, 4)
                 : "l"(a), "l"(b), "n"(ADD));
}

// c += a b for 64 rows of a and 256 channels of b, whose sixteen rows are what is summed over.
__device__ inline void multiply_channels(float (&c)[32][4], uint32_t a0, uint32_t a1, uint32_t a2,
                                         uint32_t a3, uint64_t b) {
    asm volatile(
        "wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16 "
        "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,"
        "%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,"
        "%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63,%64,%65,%66,%67,%68,"
        "%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79,%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,"
        "%91,%92,%93,%94,%95,%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,"
        "%111,%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127}, "
        "{%128,%129,%130,%131}, %132, 1, 1, 1, 1;"
        : SIXTY_FOUR(c, 0), SIXTY_FOUR(c, 16)
        : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b));
}
#endif

// How far, in powers of two, a score may lie above what shares are taken against before the sums are
// brought down: shares keep their eleven bits, and most tiles need no change.
constexpr float HEADROOM = 8;

extern "C" __global__ void __launch_bounds__(256, 1)
    attend_many(float *out, __half *turned_out, const __half *q, const __half *expanded,
                const uint32_t *bases, const Row *rows, Memory memory, Place at, uint32_t heads,
                const uint32_t *picks, const uint32_t *counts, uint32_t picks_width, uint32_t draft,
                const float *sinks, const float2 *angles) {
    in_turn();
#if BY_WARPGROUP
    extern __shared__ __align__(1024) uint8_t stages[];
    uint8_t *query = stages, *tiles = stages + LOOKED * HEAD * 2;
    uint32_t number = blockIdx.x, t = threadIdx.x, warp = t / 32, lane = t % 32, g = lane / 4,
             quad = lane % 4, side = t / 128, first_head = blockIdx.y * 64;
    Row row = rows[number];
    uint32_t base = bases[row.run];
    if (base == (uint32_t)NOT_EXPANDED)
        return;
    Seen seen(memory, row, at, draft, picks, counts, picks_width, number);
    uint32_t window = window_rows(memory, row.run_pos, row.run_end - row.run_row);
    // The first row of this row's window, and the compressed row of number 0, as expanded.
    uint32_t own = base + seen.first - (row.run_pos - min(memory.window - 1, row.run_pos)),
             compressed = base + window;
    // Lanes 0 to 7 know where the warp's eight rows of a tile lie.
    auto place_of = [&](uint32_t tile) {
        uint32_t i = tile * LOOKED + warp * 8 + lane % 8;
        if (i < seen.in_window || i >= seen.all)
            return own + min(i, seen.in_window - 1);
        i -= seen.in_window;
        return compressed + (seen.picks ? seen.picks[i] : i);
    };
    auto fetch = [&](uint32_t tile, uint32_t place) {
        uint8_t *to = tiles + tile % 2 * (LOOKED * HEAD * 2);
#pragma unroll
        for (int k = 0; k < 8; k++) {
            uint32_t r = warp * 8 + k;
            const uint4 *from =
                (const uint4 *)(expanded + (uint64_t)__shfl_sync(~0u, place, k) * ROW_HALVES) + lane;
            bool there = tile * LOOKED + r < seen.all;
            copy16_or_none(to + window_place<LOOKED>(r, lane), from, there);
            copy16_or_none(to + window_place<LOOKED>(r, lane + 32), from + 32, there);
        }
    };
    uint32_t count = (seen.all + LOOKED - 1) / LOOKED;
    fetch(0, place_of(0));
    uint32_t next = place_of(1);
#pragma unroll
    for (uint32_t i = t; i < 64 * HEAD / 8; i += 256) {
        uint32_t head = i / (HEAD / 8), chunk = i % (HEAD / 8);
        uint32_t known = min(first_head + head, heads - 1);
        copy16_or_none(query + window_place<64>(head, chunk),
                       q + ((uint64_t)number * heads + known) * HEAD + chunk * 8,
                       first_head + head < heads);
    }
    copies_end();
    float sums[32][4] = {}, top[2] = {-INFINITY, -INFINITY}, total[2] = {};
    // Scores as powers of two.
    const float scale = 1.4426950408889634f / sqrtf((float)HEAD);
    for (uint32_t tile = 0; tile < count; tile++) {
        copies_wait<0>();
        copies_for_products();
        __syncthreads();
        if (tile + 1 < count)
            fetch(tile + 1, next);
        copies_end();
        next = place_of(tile + 2);
        const uint8_t *here = tiles + tile % 2 * (LOOKED * HEAD * 2);
        float score[8][4];
        products_begin();
        multiply_rows<0>(score, along_channels(query, 0), along_channels(here, 0));
#pragma unroll
        for (int step = 1; step < HEAD / 16; step++)
            multiply_rows<1>(score, along_channels(query, step), along_channels(here, step));
        products_end();
        products_wait<0>();
        settled(score);
        uint32_t left = seen.all - tile * LOOKED;
        if (left < LOOKED)
#pragma unroll
            for (int j = 0; j < 8; j++)
#pragma unroll
                for (int k = 0; k < 4; k++)
                    if (8 * j + 2 * quad + k % 2 >= left)
                        score[j][k] = -INFINITY;
        float shrink[2];
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float most = -INFINITY, sum = 0;
#pragma unroll
            for (int j = 0; j < 8; j++)
                most = fmaxf(most, fmaxf(score[j][2 * half], score[j][2 * half + 1]));
            most = fmaxf(most, __shfl_xor_sync(~0u, most, 1));
            most = fmaxf(most, __shfl_xor_sync(~0u, most, 2)) * scale;
            float old = top[half], now = most > old + HEADROOM ? most : old;
            shrink[half] = exp2f(old - now);
            top[half] = now;
#pragma unroll
            for (int j = 0; j < 8; j++)
#pragma unroll
                for (int k = 2 * half; k < 2 * half + 2; k++) {
                    score[j][k] = exp2f(score[j][k] * scale - now);
                    sum += score[j][k];
                }
            total[half] = total[half] * shrink[half] + sum;
        }
        if (__any_sync(~0u, shrink[0] != 1.f || shrink[1] != 1.f))
#pragma unroll
            for (int j = 0; j < 32; j++)
                sums[j][0] *= shrink[0], sums[j][1] *= shrink[0], sums[j][2] *= shrink[1],
                    sums[j][3] *= shrink[1];
        uint32_t share[8][2];
#pragma unroll
        for (int j = 0; j < 8; j++) {
            share[j][0] = bits(__floats2half2_rn(score[j][0], score[j][1]));
            share[j][1] = bits(__floats2half2_rn(score[j][2], score[j][3]));
        }
        products_begin();
#pragma unroll
        for (int step = 0; step < LOOKED / 16; step++)
            multiply_channels(sums, share[2 * step][0], share[2 * step][1], share[2 * step + 1][0],
                              share[2 * step + 1][1],
                              along_rows(here + side * (LOOKED * HEAD), step));
        products_end();
        products_wait<0>();
        settled(sums);
    }
#pragma unroll
    for (int half = 0; half < 2; half++) {
        uint32_t head = first_head + warp % 4 * 16 + g + 8 * half;
        float sum = total[half];
        sum += __shfl_xor_sync(~0u, sum, 1);
        sum += __shfl_xor_sync(~0u, sum, 2);
        if (head >= heads)
            continue;
        float sink = sinks[head] * 1.4426950408889634f, higher = fmaxf(top[half], sink);
        float share = exp2f(top[half] - higher);
        float inverse = share / (sum * share + exp2f(sink - higher));
        uint64_t place = ((uint64_t)number * heads + head) * HEAD + side * 256;
        float *to = out + place;
#pragma unroll
        for (int j = 0; j < 32; j++) {
            float a = sums[j][2 * half] * inverse, b = sums[j][2 * half + 1] * inverse;
            uint32_t channel = side * 256 + 8 * j + 2 * quad;
            if (j >= (PLAIN - 256) / 8 && side) {
                float2 turn = angles[(uint64_t)number * PAIRS + (channel - PLAIN) / 2];
                float turned = a * turn.x + b * turn.y;
                b = b * turn.x - a * turn.y;
                a = turned;
            }
            if (out)
                *(float2 *)(to + 8 * j + 2 * quad) = make_float2(a, b);
            sums[j][2 * half] = a, sums[j][2 * half + 1] = b;
        }
        // What a lane has of 128 channels are four whole pieces of them turned, see `tiles.cu`.
#pragma unroll
        for (int piece = 0; piece < 8; piece++) {
            int j = piece / 4 * 16 + piece % 4;
            auto two = [&](int c) {
                return bits(__floats2half2_rn(bounded(sums[j + 4 * c][2 * half]),
                                              bounded(sums[j + 4 * c][2 * half + 1])));
            };
            *(uint4 *)(turned_out + place + piece / 4 * 128 + (piece % 4 * 4 + quad) * 8) =
                make_uint4(two(0), two(1), two(2), two(3));
        }
    }
#endif
}
