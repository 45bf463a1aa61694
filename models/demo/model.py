"""DeepSeek V4 for training the demo model: whole sequences at once, one conversation a row.

Parameters carry the names of released checkpoints. The roundings of the cache are in here (with straight-through
gradients), since the engine applies them. The indexer is left out: its top-k keeps every row, and nothing trains it.
"""
import math

import torch
import torch.nn.functional as F
from torch import nn

CONFIG = {
    "model_type": "deepseek_v4", "num_key_value_heads": 1, "n_shared_experts": 1, "norm_topk_prob": True,
    "scoring_func": "sqrtsoftplus", "hc_mult": 4, "hc_sinkhorn_iters": 20, "hc_eps": 1e-6, "rms_norm_eps": 1e-6,
    "rope_theta": 10000, "compress_rope_theta": 160000, "head_dim": 512, "qk_rope_head_dim": 64, "sliding_window": 128,
    "index_n_heads": 64, "index_head_dim": 128, "index_topk": 8192, "max_position_embeddings": 131072,
    "rope_scaling": {"type": "yarn", "factor": 16, "beta_fast": 32, "beta_slow": 1, "original_max_position_embeddings": 65536},
    "vocab_size": 8192, "hidden_size": 256, "num_hidden_layers": 5, "num_hash_layers": 1, "num_attention_heads": 4,
    "q_lora_rank": 128, "o_groups": 2, "o_lora_rank": 64, "compress_ratios": [0, 4, 128, 4, 0], "n_routed_experts": 6,
    "num_experts_per_tok": 2, "moe_intermediate_size": 128, "routed_scaling_factor": 1.5, "swiglu_limit": 10.0,
}
E, H, D, R, W = 256, 4, 512, 64, 128
QL, G, OL, X, TOP, FF, V = 128, 2, 64, 6, 2, 128, 8192
STREAMS, EPS = 4, 1e-6


def rms(x):
    x = x.float()
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS)


class Norm(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return (rms(x) * self.weight).bfloat16()


def matrix(rows, columns, gain=1.0):
    return nn.Parameter(torch.randn(rows, columns) * gain / math.sqrt(columns))


class Linear(nn.Module):
    def __init__(self, columns, rows, gain=1.0):
        super().__init__()
        self.weight = matrix(rows, columns, gain)

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


def split(mix, scale, base):
    """Weights of a hyper-connection: read, write, and the doubly stochastic mixing matrix."""
    pre = torch.sigmoid(mix[..., :4] * scale[0] + base[:4]) + EPS
    post = 2 * torch.sigmoid(mix[..., 4:8] * scale[1] + base[4:8])
    c = torch.softmax((mix[..., 8:] * scale[2] + base[8:]).unflatten(-1, (4, 4)), -1) + EPS
    c = c / (c.sum(-2, keepdim=True) + EPS)
    for _ in range(19):
        c = c / (c.sum(-1, keepdim=True) + EPS)
        c = c / (c.sum(-2, keepdim=True) + EPS)
    return pre, post, c


class Compressor(nn.Module):
    def __init__(self, ratio):
        super().__init__()
        self.ratio, self.lanes = ratio, 2 if ratio == 4 else 1
        self.wkv, self.wgate = Linear(E, self.lanes * D), Linear(E, self.lanes * D, 0.5)
        self.ape = nn.Parameter(torch.randn(ratio, self.lanes * D) * 0.2)
        self.norm = Norm(D)

    def forward(self, x, cos, sin):
        b, t = x.shape[:2]
        r, c = self.ratio, t // self.ratio
        k = self.wkv(x).view(b, c, r, -1)
        s = self.wgate(x).view(b, c, r, -1).float() + self.ape
        if r == 4:
            # The previous window's first lane joins in; before the first window there is none.
            k = torch.cat([F.pad(k[:, :-1, :, :D], (0, 0, 0, 0, 1, 0)), k[..., D:]], 2)
            s = torch.cat([F.pad(s[:, :-1, :, :D], (0, 0, 0, 0, 1, 0), value=-1e30), s[..., D:]], 2)
        rows = self.norm((torch.softmax(s, 2).to(k.dtype) * k).sum(2))
        return round_rows(rotate(rows, cos[::r], sin[::r]))


class Attention(nn.Module):
    def __init__(self, ratio):
        super().__init__()
        self.ratio = ratio
        self.wq_a, self.wq_b, self.q_norm = Linear(E, QL), Linear(QL, H * D), Norm(QL)
        self.wkv, self.kv_norm = Linear(E, D), Norm(D)
        self.wo_a, self.wo_b = Linear(D * H // G, G * OL), Linear(G * OL, E, 0.5)
        self.attn_sink = nn.Parameter(torch.zeros(H))
        if ratio:
            self.compressor = Compressor(ratio)

    def forward(self, x, cos, sin):
        b, t = x.shape[:2]
        n = t // W
        q = rms(self.wq_b(self.q_norm(self.wq_a(x))).view(b, t, H, D)).bfloat16()
        q = rotate(q, cos[:, None], sin[:, None])
        kv = round_rows(rotate(self.kv_norm(self.wkv(x)), cos, sin)).view(b, n, W, D)
        # A block of W queries sees its own block and the one before.
        near = torch.cat([F.pad(kv[:, :-1], (0, 0, 0, 0, 1, 0)), kv], 2)
        i, j = torch.arange(W, device=x.device), torch.arange(2 * W, device=x.device)
        seen = (j <= i[:, None] + W) & (j > i[:, None])
        first = seen & (j >= W)
        seen = torch.cat([first[None], seen.expand(n - 1, W, 2 * W)]).view(n, W, 1, 2 * W)
        scores = (q.view(b, n, W * H, D) @ near.transpose(2, 3)).view(b, n, W, H, 2 * W).float() * D ** -0.5
        scores = scores.masked_fill(~seen, -1e30).view(b, t, H, 2 * W)
        parts = [self.attn_sink.view(1, 1, H, 1).expand(b, t, H, 1), scores]
        if self.ratio:
            far = self.compressor(x, cos, sin)
            c = far.shape[1]
            s = (q.view(b, t * H, D) @ far.transpose(1, 2)).view(b, t, H, c).float() * D ** -0.5
            done = (torch.arange(t, device=x.device) + 1) // self.ratio
            hidden = torch.arange(c, device=x.device) >= done[:, None]
            parts.append(s.masked_fill(hidden[:, None], -1e30))
        p = torch.softmax(torch.cat(parts, -1), -1).bfloat16()
        o = (p[..., 1:1 + 2 * W].reshape(b, n, W * H, 2 * W) @ near).view(b, t, H, D)
        if self.ratio:
            o = o + (p[..., 1 + 2 * W:].reshape(b, t * H, c) @ far).view(b, t, H, D)
        o = rotate(o, cos[:, None], -sin[:, None])
        o = torch.einsum("btgi,gri->btgr", o.reshape(b, t, G, -1), self.wo_a.weight.bfloat16().view(G, OL, -1))
        return self.wo_b(o.reshape(b, t, G * OL))


class Moe(nn.Module):
    """All experts are computed: at this size that costs less than sorting tokens."""

    def __init__(self, hashed):
        super().__init__()
        self.hashed = hashed
        self.gate = Linear(E, X)
        self.w1 = nn.Parameter(torch.randn(X, FF, E) / math.sqrt(E))
        self.w3 = nn.Parameter(torch.randn(X, FF, E) / math.sqrt(E))
        self.w2 = nn.Parameter(torch.randn(X, E, FF) * 0.5 / math.sqrt(FF))
        self.s1, self.s3, self.s2 = Linear(E, FF), Linear(E, FF), Linear(FF, E, 0.5)
        if hashed:
            token = torch.arange(V)
            first = token * 2654435761 % 4294967296 // 8191 % X
            self.register_buffer("tid2eid", torch.stack([first, (first + 1 + token % (X - 1)) % X], 1))
        else:
            self.register_buffer("bias", torch.zeros(X))
            self.load = None

    def forward(self, x, tokens):
        score = torch.sqrt(F.softplus(F.linear(x.float(), self.gate.weight)) + 1e-12)
        if self.hashed:
            chosen = self.tid2eid[tokens]
        else:
            chosen = (score + self.bias).topk(TOP, -1).indices
        mask = F.one_hot(chosen, X).sum(-2)
        weight = score * mask
        weight = weight / weight.sum(-1, keepdim=True) * 1.5
        flat = x.reshape(-1, E)
        g = (flat @ self.w1.bfloat16().reshape(X * FF, E).T).clamp(max=10)
        u = (flat @ self.w3.bfloat16().reshape(X * FF, E).T).clamp(-10, 10)
        h = (F.silu(g) * u).view(-1, X, FF) * weight.view(-1, X, 1).bfloat16()
        y = h.view(-1, X * FF) @ self.w2.bfloat16().transpose(1, 2).reshape(X * FF, E)
        shared = F.silu(self.s1(x).clamp(max=10)) * self.s3(x).clamp(-10, 10)
        load = mask.float().mean((0, 1)) if not self.hashed else None
        return y.view_as(x) + self.s2(shared), load


class Hyper(nn.Module):
    def __init__(self, rows, scales):
        super().__init__()
        self.fn = nn.Parameter(torch.randn(rows, STREAMS * E) * 0.02 / math.sqrt(E))
        self.scale = nn.Parameter(torch.full((scales,), 1.0))
        base = torch.zeros(rows)
        if rows == 24:
            # At first each stream mostly keeps to itself.
            base[8:] = (torch.eye(4) * 4).flatten()
            base[:4] = torch.tensor([0.5, -0.5, -0.5, -0.5])
        self.base = nn.Parameter(base)

    def mix(self, streams):
        return F.linear(rms(streams.flatten(-2)), self.fn)


class Block(nn.Module):
    def __init__(self, ratio, hashed):
        super().__init__()
        self.attn_norm, self.ffn_norm = Norm(E), Norm(E)
        self.hc_attn, self.hc_ffn = Hyper(24, 3), Hyper(24, 3)
        self.attn, self.ffn = Attention(ratio), Moe(hashed)

    def forward(self, streams, tokens, cos, sin):
        pre, post, mix = split(self.hc_attn.mix(streams), self.hc_attn.scale, self.hc_attn.base)
        y = self.attn(self.attn_norm((pre[..., None] * streams.float()).sum(-2)), cos, sin)
        streams = self.write(y, streams, post, mix)
        pre, post, mix = split(self.hc_ffn.mix(streams), self.hc_ffn.scale, self.hc_ffn.base)
        y, load = self.ffn(self.ffn_norm((pre[..., None] * streams.float()).sum(-2)), tokens)
        return self.write(y, streams, post, mix), load

    @staticmethod
    def write(y, streams, post, mix):
        kept = (mix[..., None] * streams.float()[..., :, None, :]).sum(-3)
        return (post[..., None] * y.float()[..., None, :] + kept).bfloat16()


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Parameter(torch.randn(V, E))
        ratios = CONFIG["compress_ratios"]
        self.layers = nn.ModuleList(Block(ratio, n < 1) for n, ratio in enumerate(ratios))
        self.hc_head, self.norm, self.head = Hyper(4, 1), Norm(E), matrix(V, E)
        for n, compressed in enumerate([False, True]):
            self.register_buffer(f"freq{n}", frequencies(compressed), persistent=False)

    def forward(self, tokens):
        at = torch.arange(tokens.shape[1], device=tokens.device).float()[:, None]
        turns = [(torch.cos(at * f), torch.sin(at * f)) for f in (self.freq0, self.freq1)]
        streams = F.embedding(tokens, self.embed).bfloat16()[:, :, None].expand(-1, -1, STREAMS, -1)
        loads = []
        for block in self.layers:
            cos, sin = turns[int(block.attn.ratio > 0)]
            streams, load = block(streams, tokens, cos, sin)
            loads.append(load)
        pre = torch.sigmoid(self.hc_head.mix(streams) * self.hc_head.scale[0] + self.hc_head.base) + EPS
        return self.norm((pre[..., None] * streams.float()).sum(-2)), loads

    def checkpoint(self):
        """The weights under the names and in the shapes of a released checkpoint."""
        out = {"embed.weight": self.embed, "head.weight": self.head, "norm.weight": self.norm.weight}
        hyper = lambda prefix, hc: out.update({f"{prefix}_fn": hc.fn, f"{prefix}_base": hc.base, f"{prefix}_scale": hc.scale})
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
                out |= {f"{p}ffn.experts.{k}.{name}.weight": stack[k] for k in range(X)}
                out[f"{p}ffn.shared_experts.{name}.weight"] = getattr(f, name.replace("w", "s")).weight
        return {name: value.detach() for name, value in out.items()}
