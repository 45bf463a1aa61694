// Loading: blocks as files have them become two planes, codes and the rest; of IQ2_XXS with all its
// signs.
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

// IQ2_XXS, a group of 32 values a thread. Its codes are four places in the grid and 32 signs, bit
// 7 - i of byte b that of value 4 i + b: shifted left by i, the bytes' highest bits are the signs of
// four neighbours. A file has seven signs of eight and the group's scale in their stead; the scale
// goes to the head: an eighth of the block's, as a float, and four bits for each group.
extern "C" __global__ void split_iq2_xxs(uint8_t *body, uint8_t *head, const uint8_t *blocks,
                                         uint64_t count) {
    in_turn();
    uint64_t i = (uint64_t)blockIdx.x * blockDim.x + threadIdx.x, block = i / 8;
    if (block >= count)
        return;
    const uint16_t *from = (const uint16_t *)(blocks + block * 66);
    auto word_at = [&](uint32_t at) { return from[at] | (uint32_t)from[at + 1] << 16; };
    uint32_t group = i % 8, packed = word_at(3 + 4 * group), signs = 0;
    for (uint32_t run = 0; run < 4; run++) {
        uint32_t seven = packed >> (7 * run) & 127, all = seven | (__popc(seven) & 1) << 7;
        for (uint32_t k = 0; k < 8; k++)
            signs |= (all >> k & 1) << (8 * (k % 4) + 7 - 2 * run - k / 4);
    }
    ((uint2 *)body)[i] = make_uint2(word_at(1 + 4 * group), signs);
    if (group > 0)
        return;
    uint32_t scales = 0;
    for (uint32_t k = 0; k < 8; k++)
        scales |= word_at(3 + 4 * k) >> 28 << (4 * k);
    float unit = __half2float(__ushort_as_half(from[0])) * 0.125f;
    ((uint2 *)head)[block] = make_uint2(__float_as_uint(unit), scales);
}
