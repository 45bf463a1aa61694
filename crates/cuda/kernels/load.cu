// Loading: blocks as files have them become two planes, codes and the rest.
#include "common.cuh"

// Of each block of `bytes` bytes, those from `from` on, `length` of them, are codes; the others go
// to the head plane: a byte a thread, so that blocks of any size and alignment will do.
extern "C" __global__ void split_planes(uint8_t *body, uint8_t *head, const uint8_t *blocks,
                                        uint64_t count, uint32_t bytes, uint32_t from,
                                        uint32_t length) {
    in_turn();
    uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count * bytes)
        return;
    uint64_t block = i / bytes;
    uint32_t at = i % bytes;
    uint8_t value = blocks[i];
    if (at >= from && at < from + length)
        body[block * length + at - from] = value;
    else
        head[block * (bytes - length) + (at < from ? at : at - length)] = value;
}
