// Latent and index rows as bytes: the card's half of the model's row codec, bit for bit.
//
// Rows are written by ROW_THREADS threads holding four channels each, index rows by a warp holding
// four channels a lane.
#pragma once
#include "common.cuh"

// The smallest power of two that is not below `ratio`, as an E8M0 code; NaN gives 255.
__device__ inline uint32_t power_above(float ratio) {
    uint32_t bits = __float_as_uint(ratio) & 0x7fffffff;
    if (bits > 0x7f800000)
        return 255;
    bool up = bits < 0x00800000 ? bits > 0x00400000 : (bits & 0x007fffff) != 0;
    return min((bits >> 23) + up, 254u);
}

__device__ inline float power(uint32_t code) {
    if (code == 0)
        return __uint_as_float(0x00400000);
    if (code == 255)
        return __uint_as_float(0x7fc00000);
    return __uint_as_float(code << 23);
}

__device__ inline uint32_t to_e4m3(float value) {
    uint32_t bits = __float_as_uint(value), sign = bits >> 24 & 0x80, magnitude = bits & 0x7fffffff;
    uint32_t normal = ((magnitude + 0x7ffff + (magnitude >> 20 & 1)) >> 20) - (120 << 3);
    float small = __uint_as_float(min(magnitude, __float_as_uint(16384.f)));
    uint32_t subnormal = __float_as_uint(small + 16384.f) - __float_as_uint(16384.f);
    uint32_t code = magnitude < (121u << 23) ? subnormal : min(normal, 0x7eu);
    return sign | (magnitude > 0x7f800000 ? 0x7f : code);
}

__device__ inline float from_e4m3(uint32_t code) {
    uint32_t magnitude = code & 0x7f;
    float value = __uint_as_float(magnitude << 20) * __uint_as_float(247u << 23);
    if (magnitude == 0x7f)
        value = __uint_as_float(0x7fc00000);
    return __uint_as_float(__float_as_uint(value) | (code & 0x80) << 24);
}

__device__ inline uint32_t to_e2m1(float value) {
    float a = fabsf(value);
    uint32_t m = (a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) + (a > 2.5f) +
                 (a >= 3.5f) + (a > 5.f);
    return m | (__float_as_uint(value) >> 28 & 8);
}

__device__ inline float from_e2m1(uint32_t code) {
    __half h = __ushort_as_half((code & 8) << 12 | (code & 7) << 9);
    return __half2float(h) * 16384.f;
}

__device__ inline uint32_t bf16(float value) {
    uint32_t bits = __float_as_uint(value);
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

// The largest magnitude of four values of each of `lanes` neighbouring lanes; NaN is the largest of
// all.
__device__ inline float largest(float4 v, int lanes) {
    auto magnitude = [](float x) { return __float_as_uint(x) & 0x7fffffff; };
    uint32_t m = max(max(magnitude(v.x), magnitude(v.y)), max(magnitude(v.z), magnitude(v.w)));
    for (int lane = lanes / 2; lane; lane >>= 1)
        m = max(m, __shfl_xor_sync(~0u, m, lane));
    return __uint_as_float(m);
}

__device__ inline uint32_t scale_for(float largest, float floor, float greatest) {
    return power_above((largest < floor ? floor : largest) * (1.f / greatest));
}

// Stores channels 4 t to 4 t + 3 of a latent row, t the thread's number; all ROW_THREADS call it.
__device__ inline void write_latent(const Memory &m, uint8_t *row, float4 v) {
    int t = threadIdx.x;
    // A block of 64 channels is 16 lanes.
    uint32_t code = scale_for(largest(v, 16), 1e-4f, 448.f);
    float scale = power(code);
    bool plain = t < PLAIN / 4;
    uint32_t a = to_e4m3(v.x / scale), b = to_e4m3(v.y / scale), c = to_e4m3(v.z / scale),
             d = to_e4m3(v.w / scale);
    if (m.packed) {
        if (plain) {
            ((uint32_t *)row)[t] = a | b << 8 | c << 16 | d << 24;
            if (t % 16 == 0)
                row[PLAIN + t / 16] = code;
        } else {
            uint32_t *out = (uint32_t *)(row + PLAIN + 8) + 2 * (t - PLAIN / 4);
            out[0] = bf16(v.x) | bf16(v.y) << 16;
            out[1] = bf16(v.z) | bf16(v.w) << 16;
            if (t == PLAIN / 4)
                row[PLAIN + 7] = 0;
        }
    } else {
        if (m.rounded && plain)
            v = make_float4(from_e4m3(a) * scale, from_e4m3(b) * scale, from_e4m3(c) * scale,
                            from_e4m3(d) * scale);
        ((float4 *)row)[t] = v;
    }
}

// Channels 4 t to 4 t + 3 of a latent row.
__device__ inline float4 read_latent(const Memory &m, const uint8_t *row, int t) {
    if (!m.packed)
        return ((const float4 *)row)[t];
    if (t < PLAIN / 4) {
        uint32_t codes = ((const uint32_t *)row)[t];
        float scale = power(row[PLAIN + t / 16]);
        return make_float4(from_e4m3(codes & 255) * scale, from_e4m3(codes >> 8 & 255) * scale,
                           from_e4m3(codes >> 16 & 255) * scale, from_e4m3(codes >> 24) * scale);
    }
    const uint32_t *in = (const uint32_t *)(row + PLAIN + 8) + 2 * (t - PLAIN / 4);
    return make_float4(__uint_as_float(in[0] << 16), __uint_as_float(in[0] & 0xffff0000u),
                       __uint_as_float(in[1] << 16), __uint_as_float(in[1] & 0xffff0000u));
}

// The orthonormal Walsh-Hadamard transform of 128 values, four a lane.
__device__ inline float4 hadamard(float4 v) {
    v = make_float4(v.x + v.y, v.x - v.y, v.z + v.w, v.z - v.w);
    v = make_float4(v.x + v.z, v.y + v.w, v.x - v.z, v.y - v.w);
    for (int lane = 1; lane < 32; lane *= 2) {
        bool high = threadIdx.x & lane;
        auto step = [&](float own) {
            float other = __shfl_xor_sync(~0u, own, lane);
            return high ? other - own : own + other;
        };
        v = make_float4(step(v.x), step(v.y), step(v.z), step(v.w));
    }
    float scale = 1.f / sqrtf((float)INDEX);
    return make_float4(v.x * scale, v.y * scale, v.z * scale, v.w * scale);
}

// Codes of four channels of a block of 32 (eight lanes), and the block's scale.
__device__ inline uint32_t e2m1_codes(float4 v, uint32_t &code) {
    code = scale_for(largest(v, 8), 6.f * 1.17549435e-38f, 6.f);
    float scale = power(code);
    return to_e2m1(v.x / scale) | to_e2m1(v.y / scale) << 4 | to_e2m1(v.z / scale) << 8 |
           to_e2m1(v.w / scale) << 12;
}

// Brings four channels of an index query or key into the space where scores are taken.
__device__ inline float4 round_index(float4 v) {
    uint32_t code, codes = e2m1_codes(v = hadamard(v), code);
    float scale = power(code);
    return make_float4(from_e2m1(codes & 15) * scale, from_e2m1(codes >> 4 & 15) * scale,
                       from_e2m1(codes >> 8 & 15) * scale, from_e2m1(codes >> 12) * scale);
}

// Stores channels 4 lane to 4 lane + 3 of an index row; a whole warp calls it.
__device__ inline void write_index(const Memory &m, uint8_t *row, float4 v) {
    int lane = threadIdx.x % 32;
    if (m.packed) {
        uint32_t code, codes = e2m1_codes(hadamard(v), code);
        ((uint16_t *)row)[lane] = codes;
        if (lane % 8 == 0)
            row[INDEX / 2 + lane / 8] = code;
    } else {
        if (m.rounded)
            v = round_index(v);
        ((float4 *)row)[lane] = v;
    }
}
