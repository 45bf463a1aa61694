"""The optimizer: Muon for matrices, Adam for all else. Every step runs inside a captured CUDA graph."""
import torch


def orthogonal(g):
    """The nearest matrices with singular values of about one (Newton-Schulz, five steps)."""
    x = g.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.transpose(-2, -1)
    x = x / (x.float().norm(dim=(-2, -1), keepdim=True) + 1e-7).bfloat16()
    for _ in range(5):
        a = x @ x.transpose(-2, -1)
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.transpose(-2, -1) if tall else x


class Optimizer:
    """`rate` and `slow` are tensors on the device: of matrices, and of all else."""

    def __init__(self, model, rate, embed=3.0, decay=0.01):
        matrices, other = [], []
        for name, p in model.named_parameters():
            ours = p.ndim >= 2 and not any(part in name for part in ("embed", "gate.weight", "fn", "ape")) or "wgate" in name
            (matrices if ours else other).append((name, p))
        self.rate = torch.zeros((), device=model.embed.device)
        self.base, self.decay = rate, decay
        shapes = {}
        for name, p in matrices:
            shapes.setdefault(tuple(p.shape), []).append(p)
        self.groups = [(ps, [torch.zeros_like(p) for p in ps]) for ps in shapes.values()]
        factor = lambda name: embed if name == "embed" else 1.5
        self.other = [(p, torch.zeros_like(p), torch.zeros_like(p), factor(name)) for name, p in other]
        self.step_count = torch.zeros((), device=model.embed.device)
        self.parameters = [p for _, p in matrices + other]

    @torch.no_grad()
    def step(self):
        grads = [p.grad for p in self.parameters]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        torch._foreach_mul_(grads, (1.0 / (norm + 1e-6)).clamp(max=1.0))
        self.step_count += 1
        for ps, moments in self.groups:
            gs = [p.grad for p in ps]
            torch._foreach_lerp_(moments, gs, 0.05)
            mixed = torch.stack([g.lerp(m, 0.95) for g, m in zip(gs, moments)])
            update = orthogonal(mixed).float()
            size = 0.2 * max(update.shape[-2:]) ** 0.5
            torch._foreach_mul_(ps, 1 - self.rate * self.decay)
            torch._foreach_sub_(ps, [u * (self.rate * size) for u in update.unbind(0)])
        first, second = 1 - 0.9 ** self.step_count, 1 - 0.98 ** self.step_count
        for p, m, v, factor in self.other:
            m.lerp_(p.grad, 0.1)
            v.lerp_(p.grad.square(), 0.02)
            p.sub_(self.rate * factor * (m / first) / ((v / second).sqrt() + 1e-10))
        return norm
