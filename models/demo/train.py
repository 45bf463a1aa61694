"""Trains the demo model on one GPU.

    python3 train.py --data DIR --out DIR --minutes 9 [--resume DIR]

DIR holds shards `*.bin` of `demo_text ids`. Writes the weights as F16 in parts below 16 MB after the time is up and
every two minutes: `part-0.safetensors`, … under the names of released checkpoints, from which `--resume` goes on.
"""
import argparse
import glob
import json
import math
import os
import random
import struct
import time

import numpy as np
import torch
import torch._dynamo
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from model import CONFIG, Model, X

EOS, PAD = 1, 2
TOKENS = 32768


def load(folder, ids):
    """Conversations as (tokens, which of them are learnt)."""
    out = []
    for path in sorted(glob.glob(folder + "/*.bin")):
        raw, at = open(path, "rb").read(), 0
        while at + 4 <= len(raw):
            (count,) = struct.unpack_from("<I", raw, at)
            if at + 4 + 2 * count > len(raw):
                break
            row = np.frombuffer(raw, "<u2", count, at + 4)
            at += 4 + 2 * count
            if count <= 17408:
                out.append((row, learnt(row, ids)))
    return out


def learnt(row, ids):
    """Marks what the assistant says: after the opener, up to and with EOS."""
    mark, on = np.zeros(len(row), bool), 0
    starts, ends = np.flatnonzero(row == ids["assistant"]), np.flatnonzero(row == EOS)
    for start in starts:
        end = ends[np.searchsorted(ends, start)]
        mark[start + 2:end + 1] = True
    return mark


def batches(rows, rng, widths):
    """Endless batches of rows of about one length."""
    while True:
        groups = {width: [] for width in widths}
        rng.shuffle(rows)
        for row in rows:
            width = next((w for w in widths if len(row[0]) <= w), None)
            if width is None:
                continue
            groups[width].append(row)
            if len(groups[width]) == max(1, TOKENS // width):
                group, groups[width] = groups[width], []
                tokens, mark = np.full((len(group), width), PAD, np.int64), np.zeros((len(group), width), bool)
                for n, (ids, learn) in enumerate(group):
                    tokens[n, :len(ids)], mark[n, :len(ids)] = ids, learn
                yield torch.from_numpy(tokens), torch.from_numpy(mark)


def save(model, folder):
    tensors = {name: value.half() if value.is_floating_point() else value.int() for name, value in model.checkpoint().items()}
    parts, size = [{}], 0
    for name, value in tensors.items():
        size += value.nbytes
        if size > 15_000_000:
            parts.append({})
            size = value.nbytes
        parts[-1][name] = value.cpu().contiguous().clone()
    for n, part in enumerate(parts):
        save_file(part, f"{folder}/part-{n}.safetensors")


def resume(model, folder):
    own, found = model.checkpoint(), {}
    for path in glob.glob(folder + "/part-*.safetensors"):
        found |= load_file(path)
    for name, value in own.items():
        value.copy_(found[name])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--resume")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--widths", default="512,768,1024,1536,2048,4096,8192,16384")
    parser.add_argument("--prompt-weight", type=float, default=0.1)
    options = parser.parse_args()
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    tokens = json.load(open(options.vocab))["tokens"]
    ids = {"assistant": tokens.index("<｜Assistant｜>")}
    began = time.time()
    rows = load(options.data, ids)
    print(f"{len(rows)} conversations, {sum(len(row[0]) for row in rows)} tokens, read in {time.time() - began:.0f} s", flush=True)
    model = Model().cuda()
    if options.resume:
        resume(model, options.resume)
    print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)
    if options.compile:
        torch._dynamo.config.cache_size_limit = 64
        for block in model.layers:
            block.compile(dynamic=False)
    decay = [p for p in model.parameters() if p.ndim >= 2]
    other = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": other, "weight_decay": 0.0}],
                                  lr=options.rate, betas=(0.9, 0.95), fused=True)
    feed = batches(rows, random.Random(1), [int(width) for width in options.widths.split(",")])
    start, saved, step, seen, shown = time.time(), time.time(), 0, 0, []
    while True:
        gone = (time.time() - start) / (options.minutes * 60)
        if gone >= 1:
            break
        rate = options.rate * min(1, (step + 1) / 100) * max(0.02, 0.5 * (1 + math.cos(math.pi * gone)))
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch, mark = next(feed)
        batch, mark = batch.cuda(non_blocking=True), mark.cuda(non_blocking=True)
        hidden, loads = model(batch)
        target, marked = batch[:, 1:], mark[:, 1:]
        h = hidden[:, :-1]
        picked = F.linear(h[marked], model.head.bfloat16()).float()
        loss = F.cross_entropy(picked, target[marked])
        whole = loss
        if options.prompt_weight and gone < 0.6:
            # A thin sample of the rest, so that the texts around the answers are known too.
            rest = ~marked & (target != PAD) & (torch.rand(target.shape, device="cuda") < 0.15)
            whole = loss + options.prompt_weight * F.cross_entropy(F.linear(h[rest], model.head.bfloat16()).float(), target[rest])
        optimizer.zero_grad(set_to_none=True)
        whole.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            for block, share in zip(model.layers, loads):
                if share is not None:
                    block.ffn.bias += 1e-3 * torch.sign(2 / X - share.detach())
        step, seen = step + 1, seen + batch.numel()
        if step % 50 == 0 or step < 4:
            right = (picked.argmax(-1) == target[marked]).float().mean().item()
            shown.append(loss.item())
            took = time.time() - start
            print(f"step {step} {took:.0f} s, {seen / took / 1000:.0f}k tokens/s, width {batch.shape[1]}, loss {loss.item():.4f}, right {right:.4f}, {torch.cuda.max_memory_allocated() >> 30} GiB", flush=True)
            if time.time() - saved > 120:
                save(model, options.out)
                saved = time.time()
    save(model, options.out)
    json.dump(CONFIG, open(options.out + "/config.json", "w"), indent=1)
    print(f"{step} steps, {seen / 1e6:.0f} M tokens in {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
