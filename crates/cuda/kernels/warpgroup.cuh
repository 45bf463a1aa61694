// Products on Hopper: four warps multiply as one, and read one of the factors from shared memory by
// themselves.
#pragma once
#include <cstdint>

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define BY_WARPGROUP 1
#else
#define BY_WARPGROUP 0
#endif

// Where 16 bytes of a token's window lie in shared memory: two halves of 128 bytes a token, whose
// chunks are turned by the token's number, as the tensor cores of Hopper have it.
template <int TOKENS>
__device__ inline uint32_t window_place(uint32_t token, uint32_t chunk) {
    return chunk / 8 * (TOKENS * 128) + token * 128 + ((chunk ^ token) % 8) * 16;
}

#if BY_WARPGROUP
template <int TOKENS>
__device__ inline uint64_t describe(const uint8_t *stage, int step) {
    uint64_t at = (uint32_t)__cvta_generic_to_shared(stage) + step / 4 * (TOKENS * 128) + step % 4 * 32;
    return (at & 0x3ffff) >> 4 | 1ull << 16 | (uint64_t)(1024 >> 4) << 32 | 1ull << 62;
}

#define FOUR(c, i) "+f"(c[i][0]), "+f"(c[i][1]), "+f"(c[i][2]), "+f"(c[i][3])
#define NEW_FOUR(c, i) "=f"(c[i][0]), "=f"(c[i][1]), "=f"(c[i][2]), "=f"(c[i][3])
#define NEW_SIXTEEN(c, i)                                                                          \
    NEW_FOUR(c, i), NEW_FOUR(c, i + 1), NEW_FOUR(c, i + 2), NEW_FOUR(c, i + 3)
#define SIXTEEN(c, i) FOUR(c, i), FOUR(c, i + 1), FOUR(c, i + 2), FOUR(c, i + 3)

// c += a b for 64 rows of a, of which this warp has sixteen, and all tokens, sixteen deep.
__device__ inline void multiply_all(float (&c)[8][4], uint2 low, uint2 high, uint64_t b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,"
                 "%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, {%32,%33,%34,%35}, %36, 1, 1, 1, 0;"
                 : SIXTEEN(c, 0), SIXTEEN(c, 4)
                 : "r"(low.x), "r"(high.x), "r"(low.y), "r"(high.y), "l"(b));
}
__device__ inline void multiply_all(float (&c)[16][4], uint2 low, uint2 high, uint64_t b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,"
                 "%22,%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,"
                 "%42,%43,%44,%45,%46,%47,%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,"
                 "%62,%63}, {%64,%65,%66,%67}, %68, 1, 1, 1, 0;"
                 : SIXTEEN(c, 0), SIXTEEN(c, 4), SIXTEEN(c, 8), SIXTEEN(c, 12)
                 : "r"(low.x), "r"(high.x), "r"(low.y), "r"(high.y), "l"(b));
}
// c = a b, the first of a sum.
__device__ inline void multiply_first(float (&c)[8][4], uint2 low, uint2 high, uint64_t b) {
    asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 "
                 "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,"
                 "%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, {%32,%33,%34,%35}, %36, 0, 1, 1, 0;"
                 : NEW_SIXTEEN(c, 0), NEW_SIXTEEN(c, 4)
                 : "r"(low.x), "r"(high.x), "r"(low.y), "r"(high.y), "l"(b));
}
__device__ inline void products_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void products_end() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// Waits for all groups of products but the last N.
template <int N>
__device__ inline void products_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(N) : "memory");
}
// What reads these sums stays behind the wait before this.
template <int N>
__device__ inline void settled(float (&c)[N][4]) {
#pragma unroll
    for (int i = 0; i < N; i++)
        asm volatile("" : FOUR(c, i)::"memory");
}
__device__ inline void copies_for_products() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
#endif
