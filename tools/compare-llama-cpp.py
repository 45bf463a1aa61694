#!/usr/bin/env python3
"""Run one weight file in ds4 and in llama.cpp: do they agree, and which is faster?

  cargo build --release -p ds4-cpu --example speed
  tools/compare-llama-cpp.py FILE.gguf [--threads T] [--prompt N] [--decode M]

Needs numpy and llama-cpp-python (its llama.cpp must know the architecture deepseek4). Both engines get the same token
ids, the same number of threads and the same batches, one after the other in this run, `--repeat` times; the best
speeds count. "cpu" is tokens per second of processor time, for machines that do other things meanwhile: with one
thread it is what a quiet machine shows.

Logits are those of the last prompt token and of every token fed after it. On weights of noise the experts are chosen
by tiny margins, so that engines whose roundings differ agree only so far; a wrong engine does not correlate at all.
"""
import argparse
import ctypes
import os
import random
import resource
import subprocess
import tempfile
import time

import numpy as np


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("file")
    p.add_argument("--ds4", default="target/release/examples/speed", help="our program, built as above")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--prompt", type=int, default=512)
    p.add_argument("--chunk", type=int, default=512, help="tokens of the prompt in a batch")
    p.add_argument("--decode", type=int, default=32)
    p.add_argument("--repeat", type=int, default=2)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--exact", action="store_true", help="float activations in ds4")
    p.add_argument("--repack", action="store_true",
                   help="let llama.cpp repack weights, where its scheduler can (0.3.36 aborts on this model)")
    p.add_argument("--least", type=float, default=-1.0, help="exit 1 if the median correlation is below")
    return p.parse_args()


def processor():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


class Llama:
    """The model in llama.cpp, through its C interface."""

    def __init__(self, a):
        import llama_cpp
        self.c, self.notes = llama_cpp, []
        llama_cpp.llama_backend_init()
        self.log = llama_cpp.llama_log_callback(lambda level, text, data: self.notes.append(text))
        llama_cpp.llama_log_set(self.log, ctypes.c_void_p(0))
        m = llama_cpp.llama_model_default_params()
        m.n_gpu_layers = 0
        m.use_extra_bufts = a.repack
        self.model = llama_cpp.llama_model_load_from_file(a.file.encode(), m)
        if not self.model:
            raise SystemExit(b"".join(self.notes[-6:]).decode() + f"llama.cpp cannot load {a.file}")
        c = llama_cpp.llama_context_default_params()
        c.n_ctx = a.prompt + a.decode + 8
        c.n_batch = c.n_ubatch = a.chunk
        c.n_threads = c.n_threads_batch = a.threads
        c.no_perf = True
        self.context = llama_cpp.llama_init_from_model(self.model, c)
        if not self.context:
            raise SystemExit("llama.cpp cannot make a context")
        self.vocab = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(self.model))

    def feed(self, ids):
        """Logits of the last of these tokens."""
        tokens = (self.c.llama_token * len(ids))(*ids)
        error = self.c.llama_decode(self.context, self.c.llama_batch_get_one(tokens, len(ids)))
        if error:
            raise SystemExit(f"llama_decode: {error}")
        logits = self.c.llama_get_logits_ith(self.context, -1)
        return np.ctypeslib.as_array(logits, (self.vocab,)).copy()

    def run(self, a, ids):
        self.c.llama_memory_clear(self.c.llama_get_memory(self.context), True)
        wall, cpu = time.perf_counter(), processor()
        for first in range(0, a.prompt, a.chunk):
            rows = [self.feed(ids[first:min(first + a.chunk, a.prompt)])]
        wall, cpu = time.perf_counter() - wall, processor() - cpu
        prefill = (a.prompt / wall, a.prompt / cpu)
        wall, cpu = time.perf_counter(), processor()
        for token in ids[a.prompt:]:
            rows.append(self.feed([token]))
        wall, cpu = time.perf_counter() - wall, processor() - cpu
        return prefill, (a.decode / wall, a.decode / cpu), np.array(rows)


def ours(a, ids_path, logits_path):
    command = [a.ds4, a.file, "--ids", ids_path, "--logits", logits_path, "--threads", a.threads, "--prompt", a.prompt,
               "--chunk", a.chunk, "--decode", a.decode, "--repeat", 2] + (["--exact"] if a.exact else [])
    out = subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True).stdout
    speeds = {}
    for line in out.splitlines():
        words = line.replace(",", "").split()
        speed = (float(words[1]), float(words[3]) if "cpu" in words else 0.0)
        # The first of two sessions also touches memory for the first time.
        speeds[words[0]] = tuple(map(max, speed, speeds.get(words[0], (0, 0))))
    reading = [line for line in out.splitlines()[-2:] if line.startswith(("decode", "reading"))]
    return speeds["prefill"], speeds["decode"], np.fromfile(logits_path, "<f4"), "; ".join(reading)


def main():
    a = arguments()
    llama = Llama(a)
    source = random.Random(a.seed)
    # The upper ids of a vocabulary are often special tokens; any others will do.
    ids = [source.randrange(3, min(llama.vocab, 100_000)) for _ in range(a.prompt + a.decode)]
    print(f"{a.file}: {a.prompt} tokens in batches of {a.chunk}, then {a.decode} one by one, {a.threads} threads")
    best = {}
    with tempfile.TemporaryDirectory() as folder:
        ids_path, logits_path = os.path.join(folder, "ids"), os.path.join(folder, "logits")
        with open(ids_path, "w") as f:
            f.write(" ".join(map(str, ids)))
        llama.run(a, ids)  # the first run also reads the file and touches memory
        for _ in range(a.repeat):
            for name, (prefill, decode, logits, note) in (
                ("llama.cpp", (*llama.run(a, ids), "")),
                ("ds4", ours(a, ids_path, logits_path)),
            ):
                old = best.get(name, ((0, 0), (0, 0), None, ""))
                best[name] = (tuple(map(max, prefill, old[0])), tuple(map(max, decode, old[1])), logits, note)
    for name, (prefill, decode, _, note) in best.items():
        print(f"{name:10} prefill {prefill[0]:8.2f} tokens/s (cpu {prefill[1]:8.2f})   "
              f"decode {decode[0]:7.2f} tokens/s (cpu {decode[1]:7.2f})")
        if note:
            print(f"           {note}")
    l, d = best["llama.cpp"], best["ds4"]
    print(f"ds4 / llama.cpp: prefill {d[0][0] / l[0][0]:.2f} (cpu {d[0][1] / l[0][1]:.2f}), "
          f"decode {d[1][0] / l[1][0]:.2f} (cpu {d[1][1] / l[1][1]:.2f})")
    x, y = l[2], d[2].reshape(l[2].shape)
    correlations = [np.corrcoef(p, q)[0, 1] for p, q in zip(x, y)]
    same = np.mean(x.argmax(1) == y.argmax(1))
    median = float(np.median(correlations))
    print(f"logits of {len(x)} positions: correlation median {median:.5f}, least {min(correlations):.5f}, "
          f"last prompt token {correlations[0]:.5f}; same argmax {same:.1%}")
    raise SystemExit(0 if median >= a.least else 1)


if __name__ == "__main__":
    main()
