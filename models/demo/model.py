"""DeepSeek V4 for training the demo model: rows of packed conversations, each of which sees itself alone.

Parameters carry the names of released checkpoints. The roundings of the cache are in here (with straight-through
gradients), since the engine applies them. Three things are simpler than the architecture allows: the indexer is left
out (its top-k keeps every row, and nothing trains it), the matrices that mix streams do not depend on the token, and
the output matrix is the embedding.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "model_type": "deepseek_v4", "num_key_value_heads": 1, "n_shared_experts": 1, "norm_topk_prob": True,
    "scoring_func": "sqrtsoftplus", "hc_mult": 4, "hc_sinkhorn_iters": 20, "hc_eps": 1e-6, "rms_norm_eps": 1e-6,
    "rope_theta": 10000, "compress_rope_theta": 160000, "head_dim": 512, "qk_rope_head_dim": 64, "sliding_window": 128,
    "index_n_heads": 8, "index_head_dim": 128, "index_topk": 8192, "max_position_embeddings": 131072,
    "rope_scaling": {"type": "yarn", "factor": 16, "beta_fast": 32, "beta_slow": 1, "original_max_position_embeddings": 65536},
    "vocab_size": 8192, "hidden_size": 256, "num_hidden_layers": 5, "num_hash_layers": 1, "num_attention_heads": 4,
    "q_lora_rank": 128, "o_groups": 2, "o_lora_rank": 128, "compress_ratios": [0, 4, 128, 4, 4], "n_routed_experts": 6,
    "num_experts_per_tok": 2, "moe_intermediate_size": 96, "routed_scaling_factor": 1.5, "swiglu_limit": 10.0,
}
# Head width, rotary channels, window: the same for every model of the family.
D, R, W, EPS = 512, 64, 128, 1e-6


def rms(x):
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS)


class Norm(nn.Module):
    def __init__(self, width, gain=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.full((width,), gain))

    def forward(self, x):
        return (rms(x) * self.weight).bfloat16()


class Linear(nn.Module):
    def __init__(self, columns, rows, gain=1.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, columns) * gain / math.sqrt(columns))

    def forward(self, x):
        return F.linear(x, self.weight.bfloat16())


def frequencies(compressed):
    """Rotary frequencies of a layer, YaRN-stretched where it compresses."""
    base = 160000.0 if compressed else 10000.0
    freq = 1.0 / base ** (torch.arange(0, R, 2).double() / R)
    if compressed:
        at = lambda turns: R * math.log(65536 / (turns * 2 * math.pi)) / (2 * math.log(base))
        low, high = max(math.floor(at(32)), 0), min(math.ceil(at(1)), R - 1)
        keep = 1 - ((torch.arange(R // 2) - low) / max(high - low, 0.001)).clamp(0, 1)
        freq = freq / 16 * (1 - keep) + freq * keep
    return freq.float()


def rotate(x, cos, sin):
    """Turns the last R channels, pair by pair."""
    a, b = x[..., -R::2].float(), x[..., -R + 1::2].float()
    turned = torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)
    return torch.cat([x[..., :-R], turned.to(x.dtype)], -1)


def round_rows(x):
    """E4M3 with one power of two per 64 channels for all but the rotary ones, as cached rows are."""
    kept = x[..., :-R].float().unflatten(-1, (-1, 64))
    scale = torch.exp2(torch.ceil(torch.log2(kept.detach().abs().amax(-1, keepdim=True).clamp_min(1e-4) / 448)))
    coded = (kept.detach() / scale).clamp(-448, 448).to(torch.float8_e4m3fn).float() * scale
    rounded = kept + (coded - kept).detach()
    return torch.cat([rounded.flatten(-2).to(x.dtype), x[..., -R:]], -1)


class Compressor(nn.Module):
    """Rows of `ratio` tokens each. `start` is where the conversation of each block of W tokens begins, in blocks."""

    def __init__(self, width, ratio):
        super().__init__()
        self.ratio, self.lanes = ratio, 2 if ratio == 4 else 1
        self.wkv, self.wgate = Linear(width, self.lanes * D), Linear(width, self.lanes * D, 0.2)
        ape = torch.randn(ratio, self.lanes * D) * 0.1
        if ratio == 4:
            # To begin with every token of a window has channels of its own, and the window before hardly counts.
            ape[:, :D] -= 2
            for n in range(4):
                ape[n, D + n * 112:D + n * 112 + 112] += 4
        self.ape = nn.Parameter(ape)
        self.norm = Norm(D, 1.5)

    def forward(self, x, cos, sin, start):
        b, t = x.shape[:2]
        r, c = self.ratio, t // self.ratio
        k = self.wkv(x).view(b, c, r, -1).float()
        s = self.wgate(x).view(b, c, r, -1).float() + self.ape
        if r == 4:
            # The previous window's first lane joins in; before the first window there is none.
            n = torch.arange(c, device=x.device)
            first = (n % (W // r) == 0) & (start == torch.arange(t // W, device=x.device)).repeat_interleave(W // r, 1)
            before = F.pad(s[:, :-1, :, :D], (0, 0, 0, 0, 1, 0)).masked_fill(first[..., None, None], -1e30)
            k = torch.cat([F.pad(k[:, :-1, :, :D], (0, 0, 0, 0, 1, 0)), k[..., D:]], 2)
            s = torch.cat([before, s[..., D:]], 2)
        rows = self.norm((torch.softmax(s, 2) * k).sum(2))
        return round_rows(rotate(rows, cos[::r], sin[::r]))


class Attention(nn.Module):
    def __init__(self, config, ratio):
        super().__init__()
        width, rank = config["hidden_size"], config["q_lora_rank"]
        self.ratio, self.heads = ratio, config["num_attention_heads"]
        self.groups, self.rank = config["o_groups"], config["o_lora_rank"]
        self.wq_a, self.wq_b, self.q_norm = Linear(width, rank), Linear(rank, self.heads * D), Norm(rank)
        self.wkv, self.kv_norm = Linear(width, D), Norm(D, 1.5)
        self.wo_a = Linear(D * self.heads // self.groups, self.groups * self.rank)
        self.wo_b = Linear(self.groups * self.rank, width, 0.5)
        self.attn_sink = nn.Parameter(torch.zeros(self.heads))
        if ratio:
            self.compressor = Compressor(width, ratio)

    def forward(self, x, cos, sin, start):
        b, t = x.shape[:2]
        h, n = self.heads, t // W
        q = rms(self.wq_b(self.q_norm(self.wq_a(x))).view(b, t, h, D)) * D ** -0.5
        q = rotate(q, cos[:, None], sin[:, None]).bfloat16()
        kv = round_rows(rotate(self.kv_norm(self.wkv(x)), cos, sin)).view(b, n, W, D)
        # A block of W queries sees its own block and, within its conversation, the one before.
        near = torch.cat([F.pad(kv[:, :-1], (0, 0, 0, 0, 1, 0)), kv], 2)
        i, j = torch.arange(W, device=x.device)[:, None, None], torch.arange(2 * W, device=x.device)
        first = (start == torch.arange(n, device=x.device)).view(b, n, 1, 1, 1)
        seen = (j <= i + W) & (j > i) & ((j >= W) | ~first)
        s = (q.view(b, n, W * h, D) @ near.transpose(2, 3)).view(b, n, W, h, 2 * W).float().masked_fill(~seen, -1e30)
        sink = self.attn_sink.view(1, 1, 1, h, 1)
        top = torch.maximum(s.detach().amax(-1, keepdim=True), sink.detach())
        if self.ratio:
            far = self.compressor(x, cos, sin, start)
            c = far.shape[1]
            f = (q.view(b, t * h, D) @ far.transpose(1, 2)).view(b, n, W, h, c).float()
            row, at = torch.arange(c, device=x.device), torch.arange(t, device=x.device).view(n, W, 1, 1)
            done = (row < (at + 1) // self.ratio) & (row >= start.view(b, n, 1, 1, 1) * (W // self.ratio))
            f = f.masked_fill(~done, -1e30)
            top = torch.maximum(top, f.detach().amax(-1, keepdim=True))
        p = torch.exp(s - top)
        total = p.sum(-1, keepdim=True) + torch.exp(sink - top)
        if self.ratio:
            g = torch.exp(f - top)
            total = total + g.sum(-1, keepdim=True)
        o = ((p / total).bfloat16().view(b, n, W * h, 2 * W) @ near).view(b, t, h, D)
        if self.ratio:
            o = o + ((g / total).bfloat16().view(b, t * h, c) @ far).view(b, t, h, D)
        o = rotate(o, cos[:, None], -sin[:, None])
        wo_a = self.wo_a.weight.bfloat16().view(self.groups, self.rank, -1)
        o = torch.einsum("btgi,gri->btgr", o.reshape(b, t, self.groups, -1), wo_a)
        return self.wo_b(o.reshape(b, t, self.groups * self.rank))


class Moe(nn.Module):
    """All experts are computed: at this size that costs less than sorting tokens."""

    def __init__(self, config, hashed):
        super().__init__()
        width, ff, x = config["hidden_size"], config["moe_intermediate_size"], config["n_routed_experts"]
        self.hashed, self.top = hashed, config["num_experts_per_tok"]
        self.gate = Linear(width, x)
        self.w1 = nn.Parameter(torch.randn(x, ff, width) / math.sqrt(width))
        self.w3 = nn.Parameter(torch.randn(x, ff, width) / math.sqrt(width))
        self.w2 = nn.Parameter(torch.randn(x, width, ff) * 0.5 / math.sqrt(ff))
        self.s1, self.s3, self.s2 = Linear(width, ff), Linear(width, ff), Linear(ff, width, 0.5)
        if hashed:
            token = torch.arange(config["vocab_size"])
            first = token * 2654435761 % 4294967296 // 8191 % x
            self.register_buffer("tid2eid", torch.stack([first, (first + 1 + token % (x - 1)) % x], 1))
            self.register_buffer("table", F.one_hot(self.tid2eid, x).sum(1).float(), persistent=False)
        else:
            self.register_buffer("bias", torch.zeros(x))

    def forward(self, x, tokens):
        experts, ff, width = self.w1.shape
        score = torch.sqrt(F.softplus(F.linear(x.float(), self.gate.weight)) + 1e-12)
        if self.hashed:
            mask = self.table[tokens]
        else:
            biased = (score + self.bias).detach()
            mask = (biased >= biased.topk(self.top, -1).values[..., -1:]).float()
        weight = score * mask
        weight = weight / weight.sum(-1, keepdim=True) * 1.5
        flat = x.reshape(-1, width)
        g = (flat @ self.w1.bfloat16().view(experts * ff, width).T).clamp(max=10)
        u = (flat @ self.w3.bfloat16().view(experts * ff, width).T).clamp(-10, 10)
        h = (F.silu(g) * u).view(-1, experts, ff) * weight.view(-1, experts, 1).bfloat16()
        y = h.view(-1, experts * ff) @ self.w2.bfloat16().transpose(1, 2).reshape(experts * ff, width)
        shared = F.silu(self.s1(x).clamp(max=10)) * self.s3(x).clamp(-10, 10)
        return y.view_as(x) + self.s2(shared), mask.mean((0, 1))


def doubly_stochastic(base):
    """The matrices that mix streams: twenty Sinkhorn rounds."""
    c = torch.softmax(base.view(-1, 4, 4), -1) + EPS
    c = c / (c.sum(-2, keepdim=True) + EPS)
    for _ in range(19):
        c = c / (c.sum(-1, keepdim=True) + EPS)
        c = c / (c.sum(-2, keepdim=True) + EPS)
    return c


class Hyper(nn.Module):
    """A hyper-connection: how the four streams are read, and for a block how they are written and mixed."""

    def __init__(self, width, block=True):
        super().__init__()
        self.fn = nn.Parameter(torch.randn(8 if block else 4, 4 * width) * 0.02 / math.sqrt(width))
        self.scale = nn.Parameter(torch.ones(3 if block else 1))
        base = torch.zeros(24 if block else 4)
        if block:
            # At first each stream mostly keeps to itself.
            base[8:] = (torch.eye(4) * 4).flatten()
            base[:4] = torch.tensor([0.5, -0.5, -0.5, -0.5])
        self.base = nn.Parameter(base)

    def weights(self, streams):
        """Weights to read with; for a block also weights to write with."""
        mix = F.linear(rms(streams.flatten(-2)), self.fn)
        pre = torch.sigmoid(mix[..., :4] * self.scale[0] + self.base[:4]) + EPS
        return (pre, 2 * torch.sigmoid(mix[..., 4:8] * self.scale[1] + self.base[4:8])) if len(self.fn) == 8 else pre

    def checkpoint(self):
        """The rows of `fn` that mix streams are zero: only the base counts."""
        return F.pad(self.fn, (0, 0, 0, 16)) if self.fn.shape[0] == 8 else self.fn


class Block(nn.Module):
    def __init__(self, config, ratio, hashed):
        super().__init__()
        width = config["hidden_size"]
        self.attn_norm, self.ffn_norm = Norm(width), Norm(width)
        self.hc_attn, self.hc_ffn = Hyper(width), Hyper(width)
        self.attn, self.ffn = Attention(config, ratio), Moe(config, hashed)

    def forward(self, streams, tokens, cos, sin, start, mixing):
        pre, post = self.hc_attn.weights(streams)
        y = self.attn(self.attn_norm((pre[..., None] * streams.float()).sum(-2)), cos, sin, start)
        streams = self.write(y, streams, post, mixing[0])
        pre, post = self.hc_ffn.weights(streams)
        y, load = self.ffn(self.ffn_norm((pre[..., None] * streams.float()).sum(-2)), tokens)
        return self.write(y, streams, post, mixing[1]), load

    @staticmethod
    def write(y, streams, post, mix):
        kept = sum(mix[n][:, None] * streams[..., n:n + 1, :].float() for n in range(4))
        return (post[..., None] * y.float()[..., None, :] + kept).bfloat16()


class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config, self.width = config, config["hidden_size"]
        self.embed = nn.Parameter(torch.randn(config["vocab_size"], self.width))
        ratios = config["compress_ratios"]
        self.layers = nn.ModuleList(Block(config, ratio, n < 1) for n, ratio in enumerate(ratios))
        self.hc_head, self.norm = Hyper(self.width, False), Norm(self.width)
        for n, compressed in enumerate([False, True]):
            self.register_buffer(f"freq{n}", frequencies(compressed), persistent=False)

    def head(self):
        return self.embed / math.sqrt(self.width)

    def mixing(self):
        """The mixing matrices of all blocks: apart from `forward`, since unrolled they would be most of what is compiled."""
        return doubly_stochastic(torch.stack([hyper.base[8:] for block in self.layers for hyper in (block.hc_attn, block.hc_ffn)]))

    def forward(self, tokens, start, mixing=None):
        """What the output matrix is applied to, and the experts' shares of the tokens in each layer."""
        mixing = self.mixing() if mixing is None else mixing
        at = torch.arange(tokens.shape[1], device=tokens.device).float()[:, None]
        turns = [(torch.cos(at * f), torch.sin(at * f)) for f in (self.freq0, self.freq1)]
        streams = F.embedding(tokens, self.embed).bfloat16()[:, :, None].expand(-1, -1, 4, -1)
        loads = []
        for n, block in enumerate(self.layers):
            cos, sin = turns[int(block.attn.ratio > 0)]
            streams, load = block(streams, tokens, cos, sin, start, mixing[2 * n:2 * n + 2])
            loads.append(load)
        return self.norm((self.hc_head.weights(streams)[..., None] * streams.float()).sum(-2)), loads

    def checkpoint(self):
        """The weights under the names and in the shapes of a released checkpoint."""
        out = {"embed.weight": self.embed, "head.weight": self.head(), "norm.weight": self.norm.weight}
        hyper = lambda prefix, hc: out.update({f"{prefix}_fn": hc.checkpoint(), f"{prefix}_base": hc.base, f"{prefix}_scale": hc.scale})
        hyper("hc_head", self.hc_head)
        for n, block in enumerate(self.layers):
            p, a, f = f"layers.{n}.", block.attn, block.ffn
            hyper(p + "hc_attn", block.hc_attn)
            hyper(p + "hc_ffn", block.hc_ffn)
            out |= {p + "attn_norm.weight": block.attn_norm.weight, p + "ffn_norm.weight": block.ffn_norm.weight,
                    p + "attn.attn_sink": a.attn_sink, p + "attn.q_norm.weight": a.q_norm.weight, p + "attn.kv_norm.weight": a.kv_norm.weight}
            out |= {f"{p}attn.{name}.weight": getattr(a, name).weight for name in ("wq_a", "wq_b", "wkv", "wo_a", "wo_b")}
            if a.ratio:
                c = a.compressor
                out |= {p + "attn.compressor.wkv.weight": c.wkv.weight, p + "attn.compressor.wgate.weight": c.wgate.weight,
                        p + "attn.compressor.ape": c.ape, p + "attn.compressor.norm.weight": c.norm.weight}
            out[p + "ffn.gate.weight"] = f.gate.weight
            if f.hashed:
                out[p + "ffn.gate.tid2eid"] = f.tid2eid
            else:
                out[p + "ffn.gate.bias"] = f.bias
            for name, stack in (("w1", f.w1), ("w2", f.w2), ("w3", f.w3)):
                out |= {f"{p}ffn.experts.{k}.{name}.weight": stack[k] for k in range(len(stack))}
                out[f"{p}ffn.shared_experts.{name}.weight"] = getattr(f, name.replace("w", "s")).weight
        return {name: value.detach() for name, value in out.items()}

    def restore(self, found):
        """The reverse of `checkpoint`."""
        for name, value in self.checkpoint().items():
            if name.endswith("_fn") and value.shape[0] == 24:
                p = name.split(".")
                getattr(self.layers[int(p[1])], p[2][:-3]).fn.data.copy_(found[name][:8])
            elif name != "head.weight":
                value.copy_(found[name])
