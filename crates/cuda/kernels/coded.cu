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

// Sums of four rows over LANES lanes. A quarter of these lanes gets one row's: at each of the first
// two steps a lane keeps half of the rows it has and hands the others to its partner.
template <int LANES>
__device__ inline float join_rows(float a, float b, float c, float d) {
    uint32_t lane = threadIdx.x;
    bool upper = lane & LANES / 2, odd = lane & LANES / 4;
    float first = (upper ? c : a) + __shfl_xor_sync(~0u, upper ? a : c, LANES / 2);
    float second = (upper ? d : b) + __shfl_xor_sync(~0u, upper ? b : d, LANES / 2);
    float v = (odd ? second : first) + __shfl_xor_sync(~0u, odd ? first : second, LANES / 4);
#pragma unroll
    for (int step = LANES / 8; step; step >>= 1)
        v += __shfl_xor_sync(~0u, v, step);
    return v;
}

// The rows of a piece times T rows of codes. Of the LANES lanes of MINE rows each quarter gets the
// sums of one row.
template <class Group, int T>
__device__ inline void multiply_piece(float (&out)[T], const Piece<Group> &piece,
                                      const uint8_t *const (&x)[T], const Lookup &look) {
    using C = Coded<Group>;
    uint32_t lane = threadIdx.x % 32, own = lane % C::LANES, first = lane / C::LANES * MINE;
    uint32_t cols = piece.cols, units = cols / (32 * C::GROUPS);
    Order order{cols, C::LANES, C::GROUPS};
    uint32_t codes = order.codes();
    float acc[MINE][T] = {};
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
    for (int t = 0; t < T; t++)
        out[t] = join_rows<C::LANES>(acc[0][t], acc[1][t], acc[2][t], acc[3][t]);
}

// What a warp knows of a piece that is on its way: its tile, and of the tile's tokens one a lane.
struct Ahead {
    Tile tile;
    uint32_t first, token;
    float weight;
};

// Which piece of which tile.
struct Spot {
    uint32_t tile, piece;
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
    uint32_t each, count, bytes;
    Spot step;
    uint8_t *ring;

    __device__ Pieces(const Weight &w, const Weight &up, const Tile *list, uint32_t count,
                      const uint32_t *token_of, const float *weight_of, uint8_t *shared)
        : w(w), up(up), list(list), token_of(token_of), weight_of(weight_of),
          each((w.rows + ROWS - 1) / ROWS), count(count), bytes(Piece<Group>::bytes(w.cols)),
          step(place(gridDim.x * (blockDim.x / 32))),
          ring(shared + threadIdx.x / 32 * PIECES * bytes) {}

    __device__ Spot place(uint32_t number) const { return {number / each, number % each}; }
    __device__ void on(Spot &at) const {
        at.tile += step.tile, at.piece += step.piece;
        if (at.piece >= each)
            at.piece -= each, at.tile++;
    }
    // Rows that the matrix does not have are not fetched; what is made of them is not stored.
    __device__ void fetch_rows(uint8_t *to, uint32_t at, const Weight &from, uint64_t row,
                               uint32_t rows) const {
        uint32_t body = C::body(w.cols), head = C::head(w.cols);
        fetch_bytes<16>(to + at * body, from.body + row * body, rows * body);
        fetch_bytes<C::HEAD_STEP>(to + PIECE_ROWS<Group> * body + at * head, from.head + row * head,
                                  rows * head);
    }
    __device__ void fetch(Ahead &ahead, const Spot &at, uint32_t slot) const {
        ahead.tile.count = 0;
        if (at.tile < count) {
            Tile tile = list[at.tile];
            ahead.tile = tile;
            ahead.first = at.piece * ROWS;
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
    Spot to = pieces.place(blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32);                    \
    Ahead now, next;                                                                               \
    pieces.fetch(now, to, 0);                                                                      \
    pieces.on(to);                                                                                 \
    pieces.fetch(next, to, 1);                                                                     \
    for (uint32_t slot = 0; now.tile.count; slot ^= 1) {                                           \
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
        pieces.on(to);                                                                             \
        pieces.fetch(next, to, slot);                                                              \
    }

// hidden[place] = weight * swiglu(gate x, up x); where there are fewer than T tokens, the last one is
// taken again.
template <class Group, int T>
__device__ inline void gated_piece(float *hidden, const Piece<Group> &piece, const uint8_t *codes,
                                   uint32_t rows, const Ahead &now, uint32_t from, float limit,
                                   const Lookup &look) {
    using C = Coded<Group>;
    // The lower half of the rows is of the gate, the other of `up`.
    constexpr uint32_t OWN = PIECE_ROWS<Group> / 2, SHARE = 16 / OWN;
    uint32_t lane = threadIdx.x % 32, bytes = Order{piece.cols, C::LANES, C::GROUPS}.bytes();
    const uint8_t *x[T];
#pragma unroll
    for (int t = 0; t < T; t++)
        x[t] = codes + (uint64_t)__shfl_sync(~0u, now.token, from + t) * bytes;
    float sum[T];
    multiply_piece<Group, T>(sum, piece, x, look);
#pragma unroll
    for (int t = 0; t < T; t++) {
        float weight = __shfl_sync(~0u, now.weight, from + t);
        float up = __shfl_xor_sync(~0u, sum[t], 16);
        uint32_t row = now.first + lane / SHARE;
        if (from + t < now.tile.count && lane < 16 && lane % SHARE == 0 && row < rows)
            hidden[(uint64_t)(now.tile.start + from + t) * rows + row] =
                swiglu(sum[t], up, limit) * weight;
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
    float sum[T];
    multiply_piece<Group, T>(sum, piece, x, look);
    constexpr uint32_t SHARE = 32 / PIECE_ROWS<Group>;
    uint32_t row = now.first + lane / SHARE;
#pragma unroll
    for (int t = 0; t < T; t++)
        if (from + t < now.tile.count && lane % SHARE == 0 && row < rows)
            out[(uint64_t)(now.tile.start + from + t) * rows + row] = sum[t];
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
