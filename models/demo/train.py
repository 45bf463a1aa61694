"""Trains the demo model on one GPU.

    python3 train.py --data DIR --vocab vocab.json --out DIR --minutes 9 [--resume DIR]

DIR holds shards `*.bin` of `demo_text ids`; new ones are taken up as they appear. Writes the weights as F16 in parts
below 16 MB when the time is up and every two minutes: `part-0.safetensors`, … under the names of released checkpoints,
from which `--resume` goes on. `--exam` is a shard of held-out cases with their answers: now and then the share of
them is printed that the model would write without an error, and where the others go wrong.
"""
import argparse
import glob
import json
import math
import time
from collections import Counter

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

from model import CONFIG, Model
from optim import Optimizer
from pack import PAD, W, Feed, read

KINDS = ["single", "single", "single", "parallel", "two-turn", "single", "parallel", "generic", "two-turn", "long"]


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
    json.dump(model.config, open(folder + "/config.json", "w"), indent=1)


def resume(model, folder):
    found = {}
    for path in glob.glob(folder + "/part-*.safetensors"):
        found |= load_file(path)
    model.restore(found)


def loss_of(model, mixing, tokens, start, index, target, weight):
    hidden, loads = model(tokens, start, mixing)
    picked = F.linear(hidden.reshape(-1, hidden.shape[-1])[index], model.head().bfloat16()).float()
    loss = (F.cross_entropy(picked, target, reduction="none") * weight).sum() / weight.sum()
    sure = (weight == 1).float()
    right = ((picked.argmax(-1) == target) * sure).sum() / sure.sum()
    return loss, right, torch.stack([load for load in loads[1:]])


class Exam:
    """Held-out cases: is every token of the answer the likeliest one?"""

    def __init__(self, path, assistant, vocab, longest):
        rows = read(path, assistant, 1 << 20)
        self.cases = [(ids, kind) for (ids, _), kind in zip(rows, KINDS * len(rows)) if len(ids) <= longest]
        self.assistant, self.tokens = assistant, vocab

    @torch.no_grad()
    def run(self, model, show=3):
        right, all_, where, shown = Counter(), Counter(), Counter(), []
        cases = sorted(self.cases, key=lambda case: len(case[0]))
        while cases:
            width = -(-len(cases[-1][0]) // W) * W
            some, cases = cases[-max(1, 32768 // width):], cases[:-max(1, 32768 // width)]
            tokens = torch.full((len(some), width), PAD)
            for row, (ids, _) in zip(tokens, some):
                row[:len(ids)] = torch.from_numpy(ids)
            tokens = tokens.to(model.embed.device)
            hidden, _ = model(tokens, torch.zeros(len(some), width // W, dtype=torch.long, device=tokens.device))
            for (ids, kind), row in zip(some, hidden):
                begin = int(np.flatnonzero(ids == self.assistant)[-1]) + 2
                guess = F.linear(row[begin - 1:len(ids) - 1], model.head().bfloat16()).argmax(-1).cpu().numpy()
                wrong = np.flatnonzero(guess != ids[begin:])
                all_[kind] += 1
                right[kind] += len(wrong) == 0
                if len(wrong):
                    before = "".join(self.tokens[t] for t in ids[begin:begin + wrong[0]])
                    where[self.place(before)] += 1
                    shown.append(f"{kind} {len(ids)}: …{before[-60:]} -> {self.tokens[guess[wrong[0]]]} for {self.tokens[ids[begin + wrong[0]]]}")
        total = sum(right.values())
        print(f"exam: {total} of {len(self.cases)} = {100 * total / len(self.cases):.1f} %;",
              ", ".join(f"{kind} {right[kind]}/{all_[kind]}" for kind in all_), "; errors in", dict(where), flush=True)
        for line in shown[:show]:
            print("   ", line.replace("Ġ", " ").replace("Ċ", "⏎"), flush=True)

    @staticmethod
    def place(before):
        marks = {"invoke": before.rfind('invokeĠname="'), "key": before.rfind('parameterĠname="'), "flag": before.rfind('string="'),
                 "value": max(before.rfind('true">'), before.rfind('false">')), "markup": before.rfind("</｜DSML｜"), "think": 0 if "</think>" not in before and before.startswith("I") else -1}
        return max(marks, key=marks.get) if max(marks.values()) >= 0 else "start"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--vocab", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--exam")
    parser.add_argument("--minutes", type=float, default=9, help="in all, compilation included")
    parser.add_argument("--rate", type=float, default=5e-3)
    parser.add_argument("--hot", type=float, default=0.3, help="share of the time before the rate falls")
    parser.add_argument("--floor", type=float, default=0.01, help="the last rate, as a share of the first")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--width", type=int, default=2048, help="tokens in a row")
    parser.add_argument("--picked", type=int, default=20480, help="positions of a batch that count")
    parser.add_argument("--exercises", type=float, default=0.3, help="share of copying exercises at the start")
    parser.add_argument("--prompt-weight", type=float, default=0.1)
    parser.add_argument("--examine", type=float, default=60, help="seconds between exams")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--set", default="{}", help="changes of the configuration, as JSON")
    options = parser.parse_args()
    began = time.time()
    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("high")
    vocab = json.load(open(options.vocab))["tokens"]
    assistant = vocab.index("<｜Assistant｜>")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Model(CONFIG | json.loads(options.set)).to(device)
    if options.resume:
        resume(model, options.resume)
    print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)
    clock = {"gone": 0.0}
    feed = Feed(options.data, assistant, options.rows, options.width, options.picked,
                lambda: options.exercises * max(0.1, 1 - 2 * clock["gone"]), lambda: options.prompt_weight * (clock["gone"] < 0.6), options.seed)
    exam = Exam(options.exam, assistant, vocab, options.width) if options.exam else None
    optimizer = Optimizer(model, options.rate)
    static = [value.to(device) for value in feed.next()]
    loss_fn = loss_of if options.eager else torch.compile(loss_of, dynamic=False)

    def step():
        loss, right, loads = loss_fn(model, model.mixing(), *static)
        loss.backward()
        norm = optimizer.step()
        with torch.no_grad():
            for block, share in zip(model.layers[1:], loads):
                block.ffn.bias.add_(torch.sign(block.ffn.top / len(share) - share), alpha=1e-3)
        return torch.stack([loss.detach(), right, norm])

    # The rate is still zero here, so these steps change nothing but the moments, which are wiped.
    graph = None
    if device == "cuda":
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                step()
                for p in model.parameters():
                    p.grad = None
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            shown = step()
        for _, moments in optimizer.groups:
            torch._foreach_zero_(moments)
        for _, m, v, _ in optimizer.other:
            m.zero_(), v.zero_()
        optimizer.step_count.zero_()
    memory = torch.cuda.max_memory_reserved() >> 30 if device == "cuda" else 0
    print(f"ready after {time.time() - began:.0f} s, {memory} GiB", flush=True)
    start = saved = examined = time.time()
    count, marks = 0, []
    while True:
        gone = clock["gone"] = (time.time() - start) / (began + options.minutes * 60 - start)
        if gone >= 1:
            break
        fall = min(1, options.floor + (1 - options.floor) * (1 - gone) / (1 - options.hot))
        optimizer.rate.fill_(options.rate * min(1, (count + 1) / 200) * max(options.floor, fall))
        for own, value in zip(static, feed.next()):
            own.copy_(value, non_blocking=True)
        if graph:
            graph.replay()
        else:
            for p in model.parameters():
                p.grad = None
            shown = step()
        count += 1
        if count % 20 == 0:
            marks.append(shown.tolist())
        if count % 200 == 0 or count in (1, 5, 20, 50, 100):
            took, mean = time.time() - start, np.mean(marks or [shown.tolist()], 0)
            marks = []
            print(f"step {count} {took:.0f} s, {count * static[0].numel() / took / 1000:.0f}k tokens/s, loss {mean[0]:.4f}, right {mean[1]:.4f}, "
                  f"gradient {mean[2]:.2f}, read again {feed.again}", flush=True)
        if exam and time.time() - examined > options.examine:
            exam.run(model)
            examined = time.time()
        if time.time() - saved > 120:
            save(model, options.out)
            saved = time.time()
    save(model, options.out)
    print(f"{count} steps, {count * static[0].numel() / 1e6:.0f} M tokens in {time.time() - start:.0f} s", flush=True)
    if exam:
        exam.run(model, 30)


if __name__ == "__main__":
    main()
