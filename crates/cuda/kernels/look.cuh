// Stored latent rows as binary16 in shared memory, in which they are exact.
#pragma once
#include "halves.cuh"
#include "rows.cuh"

// Where 16 bytes of a row of 512 channels lie: neither eight rows of one column nor two rows of
// four meet a bank twice.
__device__ inline uint32_t look_place(uint32_t row, uint32_t chunk) {
    return row * (HEAD * 2) + ((chunk ^ ((row & 1) << 2 | (row >> 1 & 3))) * 16);
}

// Four tiles of eight by eight, turned over; lanes name their rows. A warp.
__device__ inline uint4 turned(const uint8_t *at) {
    uint4 v;
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"((uint32_t)__cvta_generic_to_shared(at)));
    return v;
}
