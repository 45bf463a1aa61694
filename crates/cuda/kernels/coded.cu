// Experts of few rows, by integers: few enough that a weight meets one to four tokens, so that what
// counts is how many instructions its expansion takes.
//
// Every warp works for itself: it takes one piece of rows after the other, four rows a lane, whose
// bytes come through a ring of two pieces in shared memory, the next while it works on this one. Of an
// expert inward half the rows are of each matrix.
#include "coded.cuh"

constexpr int MINE = 4, PIECES = 2;

template <class Group>
constexpr uint32_t PIECE_ROWS = MINE * 32 / Coded<Group>::LANES;

template <int STEP>
__device__ inline void copy_step(uint32_t shared, const uint8_t *from) {
    if constexpr (STEP == 16)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared), "l"(from));
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(shared), "l"(from), "n"(STEP));
}

// Sends `bytes` neighbours on their way, STEP a lane at a time; a whole warp calls it.
template <int STEP>
__device__ inline void fetch_bytes(uint8_t *to, const uint8_t *from, uint32_t bytes) {
    uint32_t lane = threadIdx.x % 32 * STEP, left = bytes - min(bytes, lane);
    uint32_t shared = (uint32_t)__cvta_generic_to_shared(to) + lane;
    from += lane;
    while (left > 96 * STEP) {
#pragma unroll
        for (int i = 0; i < 4; i++)
            copy_step<STEP>(shared + i * 32 * STEP, from + i * 32 * STEP);
        shared += 128 * STEP, from += 128 * STEP;
        left -= min(left, 128 * STEP);
    }
#pragma unroll
    for (int i = 0; i < 3; i++)
        if (left > i * 32 * STEP)
            copy_step<STEP>(shared + i * 32 * STEP, from + i * 32 * STEP);
}

// A piece in the ring: the bodies of its rows, then their heads.
template <class Group>
struct Piece {
    using C = Coded<Group>;
    const uint8_t *at;
    uint32_t cols;
    __host__ __device__ static uint32_t bytes(uint32_t cols) {
        return PIECE_ROWS<Group> * (C::body(cols) + C::head(cols));
    }
    __device__ const uint8_t *body(uint32_t row) const { return at + row * C::body(cols); }
    __device__ const uint8_t *head(uint32_t row) const {
        return at + PIECE_ROWS<Group> * C::body(cols) + row * C::head(cols);
    }
};

// The rows of a piece times T rows of codes: all lanes of a row get the sums of its MINE rows.
template <class Group, int T>
__device__ inline void multiply_piece(float (&acc)[MINE][T], const Piece<Group> &piece,
                                      const uint8_t *const (&x)[T], const Lookup &look) {
    using C = Coded<Group>;
    uint32_t lane = threadIdx.x % 32, own = lane % C::LANES, first = lane / C::LANES * MINE;
    uint32_t cols = piece.cols, units = cols / (32 * C::GROUPS);
    Order order{cols, C::LANES, C::GROUPS};
    uint32_t codes = order.codes();
#pragma unroll
    for (int r = 0; r < MINE; r++)
#pragma unroll
        for (int t = 0; t < T; t++)
            acc[r][t] = 0;
#pragma unroll 1
    for (uint32_t unit = own; unit < units; unit += C::LANES) {
        C w[MINE];
#pragma unroll
        for (int r = 0; r < MINE; r++)
            w[r].load(piece.body(first + r), piece.head(first + r), unit);
#pragma unroll
        for (int g = 0; g < C::GROUPS; g++) {
            Acts<T> a;
#pragma unroll
            for (int t = 0; t < T; t++) {
                *(uint4 *)a.code[t] = *(const uint4 *)(x[t] + order.place(unit, 2 * g));
                *(uint4 *)(a.code[t] + 4) = *(const uint4 *)(x[t] + order.place(unit, 2 * g + 1));
                const float *scales = (const float *)(x[t] + codes) + unit * C::GROUPS + g;
                a.scale[t] = *scales;
                a.sums[t] = ((const uint32_t *)scales)[cols / 32];
            }
#pragma unroll
            for (int r = 0; r < MINE; r++)
                w[r].template meet<T>(g, a, acc[r], look);
        }
    }
#pragma unroll
    for (int r = 0; r < MINE; r++)
#pragma unroll
        for (int t = 0; t < T; t++)
#pragma unroll
            for (int step = C::LANES / 2; step; step >>= 1)
                acc[r][t] += __shfl_xor_sync(~0u, acc[r][t], step);
}

// What a warp knows of a piece that is on its way: its tile, and of the tile's tokens one a lane.
struct Ahead {
    Tile tile;
    uint32_t first, token;
    float weight;
};

// What a warp needs to work through its pieces: `GATED` ones are of the two inward matrices.
template <class Group, bool GATED>
struct Pieces {
    using C = Coded<Group>;
    static constexpr uint32_t ROWS = PIECE_ROWS<Group> / (GATED ? 2 : 1);
    const Weight &w, &up;
    const Tile *list;
    const uint32_t *token_of;
    const float *weight_of;
    uint32_t each, all, bytes;
    uint8_t *ring;

    __device__ Pieces(const Weight &w, const Weight &up, const Tile *list, uint32_t count,
                      const uint32_t *token_of, const float *weight_of, uint8_t *shared)
        : w(w), up(up), list(list), token_of(token_of), weight_of(weight_of),
          each((w.rows + ROWS - 1) / ROWS), all(count * each), bytes(Piece<Group>::bytes(w.cols)),
          ring(shared + threadIdx.x / 32 * PIECES * bytes) {}

    // Rows that the matrix does not have are not fetched; what is made of them is not stored.
    __device__ void fetch_rows(uint8_t *to, uint32_t at, const Weight &from, uint64_t row,
                               uint32_t rows) const {
        uint32_t body = C::body(w.cols), head = C::head(w.cols);
        fetch_bytes<16>(to + at * body, from.body + row * body, rows * body);
        fetch_bytes<C::HEAD_STEP>(to + PIECE_ROWS<Group> * body + at * head, from.head + row * head,
                                  rows * head);
    }
    __device__ void fetch(Ahead &ahead, uint32_t piece, uint32_t slot) const {
        if (piece < all) {
            Tile tile = list[piece / each];
            ahead.tile = tile;
            ahead.first = piece % each * ROWS;
            uint64_t row = (uint64_t)tile.expert * w.rows + ahead.first;
            uint32_t rows = min(ROWS, w.rows - ahead.first);
            uint8_t *to = ring + slot * bytes;
            fetch_rows(to, 0, w, row, rows);
            if (GATED) {
                fetch_rows(to, ROWS, up, row, rows);
                uint32_t place = tile.start + min(threadIdx.x % 32, tile.count - 1);
                ahead.token = token_of[place];
                ahead.weight = weight_of[place];
            }
        }
        copies_end();
    }
    __device__ Piece<Group> piece(uint32_t slot) const { return {ring + slot * bytes, w.cols}; }
};

template <class Group>
__device__ inline uint8_t *fill_table(uint8_t *shared, const uint2 *grid) {
    if (!Coded<Group>::TABLE)
        return shared;
    for (uint32_t i = threadIdx.x; i < TABLE_BYTES / 16; i += blockDim.x) {
        uint2 v = __ldg(grid + i / 8);
        ((uint4 *)shared)[i] = make_uint4(v.x, v.y, v.x, v.y);
    }
    __syncthreads();
    return shared + TABLE_BYTES;
}

// Goes through a warp's pieces; BODY finds what it knows of one in `now`, its bytes in `slot`.
#define EACH_PIECE(BODY)                                                                           \
    uint32_t stride = gridDim.x * (blockDim.x / 32);                                               \
    uint32_t number = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;                           \
    Ahead now, next;                                                                               \
    pieces.fetch(now, number, 0);                                                                  \
    pieces.fetch(next, number + stride, 1);                                                        \
    for (uint32_t slot = 0; number < pieces.all; number += stride, slot ^= 1) {                    \
        copies_wait<PIECES - 1>();                                                                 \
        __syncwarp();                                                                              \
        if (now.tile.count == 1)                                                                   \
            BODY(1, 0);                                                                            \
        else if (now.tile.count == 2)                                                              \
            BODY(2, 0);                                                                            \
        else                                                                                       \
            for (uint32_t from = 0; from < now.tile.count; from += Coded<Group>::MOST)             \
                BODY(Coded<Group>::MOST, from);                                                    \
        __syncwarp();                                                                              \
        now = next;                                                                                \
        pieces.fetch(next, number + 2 * stride, slot);                                             \
    }

// hidden[place] = weight * swiglu(gate x, up x); where there are fewer than T tokens, the last one is
// taken again.
template <class Group, int T>
__device__ inline void gated_piece(float *hidden, const Piece<Group> &piece, const uint8_t *codes,
                                   uint32_t rows, const Ahead &now, uint32_t from, float limit,
                                   const Lookup &look) {
    using C = Coded<Group>;
    constexpr int OWN = PIECE_ROWS<Group> / 2;
    uint32_t lane = threadIdx.x % 32, bytes = Order{piece.cols, C::LANES, C::GROUPS}.bytes();
    const uint8_t *x[T];
#pragma unroll
    for (int t = 0; t < T; t++)
        x[t] = codes + (uint64_t)__shfl_sync(~0u, now.token, from + t) * bytes;
    float acc[MINE][T];
    multiply_piece<Group, T>(acc, piece, x, look);
#pragma unroll
    for (int t = 0; t < T; t++) {
        float weight = __shfl_sync(~0u, now.weight, from + t), gate = 0, up = 0;
#pragma unroll
        for (int r = 0; r < OWN; r++) {
            // Of sixteen lanes a row the second half has the rows of `up`.
            float u = OWN < MINE ? acc[(OWN + r) % MINE][t] : __shfl_sync(~0u, acc[r][t], 16);
            if (lane == r)
                gate = acc[r][t], up = u;
        }
        if (from + t < now.tile.count && lane < OWN && now.first + lane < rows)
            hidden[(uint64_t)(now.tile.start + from + t) * rows + now.first + lane] =
                swiglu(gate, up, limit) * weight;
    }
}

template <class Group>
__device__ void coded_gated(float *hidden, const uint8_t *codes, const Weight &gate,
                            const Weight &up, const Tile *list, const uint32_t *list_count,
                            const uint32_t *token_of, const float *weight_of, float limit) {
    extern __shared__ __align__(128) uint8_t shared[];
    uint8_t *ring = fill_table<Group>(shared, gate.grid);
    Lookup look(shared);
    after_others();
    Pieces<Group, true> pieces(gate, up, list, *list_count, token_of, weight_of, ring);
#define WORK(T, from)                                                                              \
    gated_piece<Group, T>(hidden, pieces.piece(slot), codes, gate.rows, now, from, limit, look)
    EACH_PIECE(WORK)
#undef WORK
}

// out[place] = down(hidden[place]).
template <class Group, int T>
__device__ inline void down_piece(float *out, const Piece<Group> &piece, const uint8_t *codes,
                                  uint32_t rows, const Ahead &now, uint32_t from,
                                  const Lookup &look) {
    using C = Coded<Group>;
    uint32_t lane = threadIdx.x % 32, bytes = Order{piece.cols, C::LANES, C::GROUPS}.bytes();
    const uint8_t *x[T];
#pragma unroll
    for (int t = 0; t < T; t++)
        x[t] = codes + (uint64_t)(now.tile.start + min(from + t, now.tile.count - 1)) * bytes;
    float acc[MINE][T];
    multiply_piece<Group, T>(acc, piece, x, look);
    uint32_t own = lane % C::LANES, row = now.first + lane / C::LANES * MINE + own;
#pragma unroll
    for (int t = 0; t < T; t++) {
        float v = own == 0 ? acc[0][t] : own == 1 ? acc[1][t] : own == 2 ? acc[2][t] : acc[3][t];
        if (from + t < now.tile.count && own < MINE && row < rows)
            out[(uint64_t)(now.tile.start + from + t) * rows + row] = v;
    }
}

template <class Group>
__device__ void coded_down(float *out, const uint8_t *codes, const Weight &w, const Tile *list,
                           const uint32_t *list_count) {
    extern __shared__ __align__(128) uint8_t shared[];
    uint8_t *ring = fill_table<Group>(shared, w.grid);
    Lookup look(shared);
    after_others();
    Pieces<Group, false> pieces(w, w, list, *list_count, nullptr, nullptr, ring);
#define WORK(T, from)                                                                              \
    down_piece<Group, T>(out, pieces.piece(slot), codes, w.rows, now, from, look)
    EACH_PIECE(WORK)
#undef WORK
}

#define CODED(FORMAT)                                                                              \
    extern "C" __global__ void __launch_bounds__(512, 1) coded_gated_##FORMAT(                     \
        float *hidden, const uint8_t *codes, const __grid_constant__ Weight gate,                  \
        const __grid_constant__ Weight up, const Tile *list, const uint32_t *list_count,           \
        const uint32_t *token_of, const float *weight_of, float limit) {                           \
        let_next_begin();                                                                          \
        coded_gated<FORMAT>(hidden, codes, gate, up, list, list_count, token_of, weight_of,        \
                            limit);                                                                \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(512, 1)                                           \
        coded_down_##FORMAT(float *out, const uint8_t *codes, const __grid_constant__ Weight w,    \
                            const Tile *list, const uint32_t *list_count) {                        \
        let_next_begin();                                                                          \
        coded_down<FORMAT>(out, codes, w, list, list_count);                                       \
    }
CODED(Q2_K)
CODED(Q4_K) CODED(IQ2_XXS) CODED(MXFP4)
