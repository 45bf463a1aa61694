// Several products in one launch.
#pragma once
#include "halves.cuh"

constexpr int NARROW_WARPS = 8, MOST_PARTS = 8;

// One product of a launch, and where its blocks begin. Rows of activations are binary16, or codes in
// natural order for weights that are codes.
struct Part {
    Weight w;
    float *out;
    const uint8_t *x;
    __half *half;   // the results as binary16, or null
    uint8_t *codes; // the results as codes, or null
    uint32_t first, format, rows, group_rows;
    uint32_t x_stride; // bytes
    uint32_t x_scales; // where the scales of a row of codes begin
    uint32_t passes, slices;
};
struct Parts {
    Part part[MOST_PARTS];
    uint32_t count, n;
};

// The part that a block works on.
__device__ inline const Part &own_part(const Parts &parts) {
    uint32_t p = 0;
    while (p + 1 < parts.count && blockIdx.x >= parts.part[p + 1].first)
        p++;
    return parts.part[p];
}
