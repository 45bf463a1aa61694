// Which rows a row of the plan attends to: its window first, then compressed ones.
#pragma once
#include "rows.cuh"

struct Seen {
    uint32_t first, in_window, all;
    const uint32_t *picks;

    __device__ Seen(const Memory &m, const Row &row, const Place &at, bool draft,
                    const uint32_t *ids, const uint32_t *counts, uint32_t width, uint32_t number) {
        first = row.pos + 1 > m.window ? row.pos + 1 - m.window : 0;
        if (draft)
            first = max(first, row.draft_first);
        in_window = row.pos + 1 - first;
        all = in_window + (ids ? counts[number] : at.ratio ? (row.pos + 1) / at.ratio : 0);
        picks = ids ? ids + (uint64_t)number * width : nullptr;
    }

    // The latent row that is number `i` among them.
    __device__ const uint8_t *row(const Memory &m, const Place &at, const Row &row,
                                  uint32_t i) const {
        if (i >= in_window)
            return page_row(m, at, row.slot, picks ? picks[i - in_window] : i - in_window, false);
        uint32_t pos = first + i;
        if (pos >= row.run_pos)
            return m.fresh + (uint64_t)(row.run_row + pos - row.run_pos) * m.latent_bytes;
        return ring_row(m, at, row.slot, pos);
    }
};
