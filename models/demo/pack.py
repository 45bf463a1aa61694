"""Batches for training: conversations packed into rows of one length, and what is to be learnt of them.

A conversation begins on a multiple of 128 tokens, so that the windows of the compressors lie as they do when it stands
alone, and one in some is no conversation but an exercise in copying, made here.
"""
import glob
import os
import queue
import random
import struct
import threading
import time

import numpy as np
import torch

EOS, PAD, W = 1, 2, 128


def read(path, assistant, longest):
    """Conversations of a shard of `demo_text ids`, as (tokens, which of them the model says itself)."""
    raw, at, out = open(path, "rb").read(), 0, []
    while at + 4 <= len(raw):
        (count,) = struct.unpack_from("<I", raw, at)
        row = np.frombuffer(raw, "<u2", count, at + 4).astype(np.int64)
        at += 4 + 2 * count
        if count <= longest:
            out.append((row, said(row, assistant)))
    return out


def said(row, assistant):
    """Marks what the assistant says: behind the opener and the token that starts or skips thinking, up to EOS."""
    mark = np.zeros(len(row), bool)
    ends = np.flatnonzero(row == EOS)
    for start in np.flatnonzero(row == assistant):
        mark[start + 2:ends[np.searchsorted(ends, start)] + 1] = True
    return mark


def exercise(rng, size):
    """A text of random tokens, and pieces of it again. A piece is learnt from its third token on."""
    pool = 259 + rng.integers(0, 7886, int(np.exp(rng.uniform(np.log(40), np.log(7000)))))
    text = rng.choice(pool, int(np.exp(rng.uniform(np.log(16), np.log(size * 0.7)))))
    parts, marks = [text], [np.zeros(len(text), bool)]
    left = min(size - len(text), 2 * len(text) + 60)
    while left > 12:
        length = min(int(rng.integers(6, 40)), left, len(text))
        at = int(rng.integers(0, len(text) - length + 1))
        parts.append(text[at:at + length])
        marks.append(np.arange(length) >= 2)
        left -= length
    return np.concatenate(parts), np.concatenate(marks)


class Feed:
    """Endless batches out of the shards in a folder, which may still be growing; a thread keeps some ready."""

    def __init__(self, folder, assistant, rows, width, picked, share, prompt, seed):
        """`share()` is the part of exercises, `prompt()` the weight of what the model does not say itself."""
        self.folder, self.assistant, self.rows, self.width, self.picked = folder, assistant, rows, width, picked
        self.share, self.prompt = share, prompt
        self.rng, self.shuffle = np.random.default_rng(seed), random.Random(seed)
        self.used, self.pool, self.again = set(), [], 0
        self.ready = queue.Queue(6)
        threading.Thread(target=self.work, daemon=True).start()

    def work(self):
        while True:
            self.ready.put(self.batch())

    def refill(self):
        while len(self.pool) < 1500:
            fresh = sorted((p for p in glob.glob(self.folder + "/*.bin") if p not in self.used), key=os.path.getmtime)
            if not fresh and not self.used:
                time.sleep(0.2)
                continue
            if not fresh:
                self.again += 1
            path = fresh[0] if fresh else self.shuffle.choice(sorted(self.used))
            self.used.add(path)
            self.pool += read(path, self.assistant, self.width)
        self.shuffle.shuffle(self.pool)

    def row(self):
        """Conversations for one row, and the block in which each begins."""
        out, at = [], 0
        while self.width - at >= W:
            left = self.width - at
            if self.rng.random() < self.share():
                out.append((at, exercise(self.rng, left)))
            else:
                look = range(len(self.pool) - 1, max(-1, len(self.pool) - 60), -1)
                fits = [n for n in look if len(self.pool[n][0]) <= left]
                if not fits:
                    break
                # The first of them that comes along, or the longest where the end is near.
                best = fits[0] if left > 1500 else max(fits, key=lambda n: len(self.pool[n][0]))
                out.append((at, self.pool.pop(best)))
            at += -(-len(out[-1][1][0]) // W) * W
        return out

    def batch(self):
        if len(self.pool) < 600:
            self.refill()
        shape = (self.rows, self.width)
        tokens, kind = np.full(shape, PAD, np.int64), np.zeros(shape, np.int8)
        start = np.zeros((self.rows, self.width // W), np.int64)
        for n in range(self.rows):
            end = 0
            for at, (ids, mark) in self.row():
                end = at + -(-len(ids) // W) * W
                tokens[n, at:at + len(ids)] = ids
                # What a position predicts is the token behind it.
                kind[n, at:at + len(ids) - 1] = np.where(mark[1:], 2, 1)
                start[n, at // W:end // W] = at // W
            start[n, end // W:] = np.arange(end // W, self.width // W)
        kind = kind.reshape(-1)
        index = self.rng.permutation(np.flatnonzero(kind == 2))[:self.picked]
        weight = np.ones(self.picked, np.float32)
        rest = np.flatnonzero(kind == 1)
        more = self.rng.choice(rest, self.picked - len(index), replace=len(rest) < self.picked - len(index))
        weight[len(index):] = self.prompt()
        index = np.concatenate([index, more])
        target = tokens.reshape(-1)[index + 1]
        return [torch.from_numpy(x).pin_memory() if torch.cuda.is_available() else torch.from_numpy(x)
                for x in (tokens, start, index, target, weight)]

    def next(self):
        return self.ready.get()
