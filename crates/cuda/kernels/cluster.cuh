// Blocks of a cluster: they run at once and reach each other's shared memory.
#pragma once
#include <cstdint>

#if __CUDA_ARCH__ >= 900
// No block's message box is written to before all threads of all blocks have arrived, as all wait for.
__device__ inline void cluster_arrive() {
    asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
}
__device__ inline void cluster_wait() {
    asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
}

// The address, in block `rank`, of what lies at `own` in this one.
__device__ inline uint32_t in_peer(const void *own, uint32_t rank) {
    uint32_t address;
    asm volatile("mapa.shared::cluster.u32 %0, %1, %2;"
                 : "=r"(address)
                 : "r"((uint32_t)__cvta_generic_to_shared(own)), "r"(rank));
    return address;
}

// A message box: this block is woken when so many bytes have come from all blocks together.
__device__ inline void open_box(uint64_t *box, uint32_t bytes) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(box);
    asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(at) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes)
                 : "memory");
}
// Stores `v` where block `rank` has what lies at `own` here, and tells its box.
__device__ inline void send(const float *own, const uint64_t *box, uint32_t rank, float v) {
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.b32 [%0], %1, [%2];" ::"r"(
                     in_peer(own, rank)),
                 "r"(__float_as_uint(v)), "r"(in_peer(box, rank))
                 : "memory");
}
__device__ inline void await(const uint64_t *box) {
    uint32_t at = (uint32_t)__cvta_generic_to_shared(box), come;
    do {
        asm volatile("{ .reg .pred p; mbarrier.try_wait.parity.shared::cta.b64 p, [%1], 0; "
                     "selp.u32 %0, 1, 0, p; }"
                     : "=r"(come)
                     : "r"(at)
                     : "memory");
    } while (!come);
}
#endif
