#!/usr/bin/env python3
"""The training step of the built-in recipe in torch eager on the CPU: the figure to stand beside.

Llama-style, hidden 128, 3 layers, 4 heads, SwiGLU 320, tied embedding, V = 23, float32; P prompts,
G rollouts + 1 demonstration each, at most 44 new tokens. One step = rollout (KV cache, T = 1,
log-probability and entropy of every sampled token kept, as our sampler does) + train (forward,
SRFT loss as printed, backward, clip 1.0, AdamW).

Lengths are drawn once from --seed: prompts 6..9 tokens, responses about --mean-length (std 5), the
batch padded to its longest; random weights would not stop by themselves, so end-of-text is forced
at a row's drawn length and forbidden before. Rollouts decode all rows until the last is done.
The prompt runs once a group; its cache is repeated. Cached decoding is held against an uncached
pass before anything is timed. On a busy machine the wall clock measures the neighbours: the load
is printed, and the CPU time beside the wall time (with --threads 1 that is the work itself).

    python benches/torch_step.py [--prompts 32] [--group 8] [--steps 10] [--threads 2]
"""

import argparse
import os
import resource
import statistics
import time

import torch
import torch.nn.functional as F

D, LAYERS, HEADS, FFN, V, MAX_NEW, EOS = 128, 3, 4, 320, 23, 44, 2
DIM = D // HEADS


class Llama(torch.nn.Module):
    def __init__(self):
        super().__init__()
        weight = lambda *shape: torch.nn.Parameter(0.05 * torch.randn(*shape))
        one = lambda: torch.nn.Parameter(torch.ones(D))
        self.embed, self.norm = weight(V, D), one()
        self.layers = torch.nn.ModuleList()
        for _ in range(LAYERS):
            layer = torch.nn.Module()
            layer.qkv, layer.out = weight(3 * D, D), weight(D, D)
            layer.gate_up, layer.down = weight(2 * FFN, D), weight(D, FFN)
            layer.norm1, layer.norm2 = one(), one()
            self.layers.append(layer)
        angle = torch.arange(64)[:, None] * 10000.0 ** (-torch.arange(0, DIM, 2) / DIM)
        self.register_buffer("cos", torch.cat([angle.cos()] * 2, -1))
        self.register_buffer("sin", torch.cat([angle.sin()] * 2, -1))

    def forward(self, ids, positions, mask=None, cache=None, at=0):
        """Hidden states [B, T, D]. mask: [B, 1, T, K] additive, None = causal; cache: per layer [2, B, heads, K, dim]."""
        b, t = ids.shape
        norm = lambda x, w: F.rms_norm(x, (D,), w, 1e-5)
        cos, sin = self.cos[positions][:, None], self.sin[positions][:, None]  # [B, 1, T, dim]

        def rotate(x):
            x1, x2 = x.chunk(2, -1)
            return x * cos + torch.cat([-x2, x1], -1) * sin

        h = F.embedding(ids, self.embed)
        for i, layer in enumerate(self.layers):
            q, k, v = F.linear(norm(h, layer.norm1), layer.qkv).view(b, t, 3, HEADS, DIM).permute(2, 0, 3, 1, 4)
            q, k = rotate(q), rotate(k)
            if cache is not None:
                cache[i][0, :, :, at : at + t], cache[i][1, :, :, at : at + t] = k, v
                k, v = cache[i][0, :, :, : at + t], cache[i][1, :, :, : at + t]
            x = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
            h = h + F.linear(x.transpose(1, 2).reshape(b, t, D), layer.out)
            gate, up = F.linear(norm(h, layer.norm2), layer.gate_up).chunk(2, -1)
            h = h + F.linear(F.silu(gate) * up, layer.down)
        return norm(h, self.norm)


def left_padded(prompts):
    """[P, T] ids, position of each token, key mask [P, T] (True = a token)."""
    width = max(map(len, prompts))
    ids = torch.stack([F.pad(p, (width - len(p), 0)) for p in prompts])
    real = torch.stack([torch.arange(width) >= width - len(p) for p in prompts])
    return ids, (real.cumsum(-1) - 1).clamp(min=0), real


@torch.no_grad()
def rollout(model, prompts, group, stops, generator):
    """Sampled responses of prompts x group rows, stopping row r after stops[r] tokens (end-of-text last)."""
    ids, positions, real = left_padded(prompts)
    p, width = ids.shape
    longest = int(stops.max())
    minus = torch.finfo(torch.float32).min
    causal = torch.tril(torch.ones(width, width, dtype=torch.bool))
    allowed = (causal & real[:, None]) | torch.eye(width, dtype=torch.bool)  # a padded row sees itself: no NaN
    cache = [torch.empty(2, p, HEADS, width, DIM) for _ in range(LAYERS)]
    h = model(ids, positions, torch.where(allowed, 0.0, minus)[:, None], cache)[:, -1]
    grown = []
    for layer in cache:  # [2, P, ..] -> [2, P*G, heads, width + longest, dim]
        full = torch.empty(2, p * group, HEADS, width + longest, DIM)
        full[:, :, :, :width] = layer.repeat_interleave(group, 1)
        grown.append(full)
    h, position = h.repeat_interleave(group, 0), (positions[:, -1] + 1).repeat_interleave(group)
    mask = torch.zeros(p * group, 1, 1, width + longest)
    mask[:, 0, 0, :width] = torch.where(real, 0.0, minus).repeat_interleave(group, 0)
    tokens, logprobs, entropies = [], [], []
    for t in range(longest):
        logits = h @ model.embed.T
        logits[:, EOS] = minus  # see the head of the file
        logp = logits.log_softmax(-1)
        prob = logp.exp()
        token = torch.multinomial(prob, 1, generator=generator)
        logprobs.append(logp.gather(-1, token)[:, 0])
        entropies.append(-(prob * logp).sum(-1))
        token[stops == t + 1] = EOS
        tokens.append(token[:, 0])
        if t + 1 == longest:
            break
        h = model(token, position[:, None], mask[..., : width + t + 1], grown, width + t)[:, 0]
        position = position + 1
    tokens = torch.stack(tokens, 1)
    return [row[:n] for row, n in zip(tokens, stops.tolist())], torch.stack(logprobs, 1), torch.stack(entropies, 1)


def train(model, optimiser, prompts, group, responses, demonstrations, rewards):
    """One SRFT update as printed (token means over rollouts and over demonstrations)."""
    rows = [(prompts[i // group], y) for i, y in enumerate(responses)] + list(zip(prompts, demonstrations))
    width = max(len(x) + len(y) for x, y in rows)
    ids = torch.stack([F.pad(torch.cat([x, y]), (0, width - len(x) - len(y))) for x, y in rows])
    start = torch.tensor([len(x) for x, _ in rows])[:, None]
    end = start + torch.tensor([len(y) for _, y in rows])[:, None]
    at = torch.arange(1, width)
    mask = (at >= start) & (at < end)  # [B, T-1]: predicted tokens that carry loss
    demo = torch.arange(len(rows)) >= len(responses)

    all_rewards = torch.cat([rewards.view(-1, group), torch.ones(len(prompts), 1)], 1)  # [P, G+1]
    centred = all_rewards - all_rewards.mean(1, keepdim=True)
    advantage = (centred / (all_rewards.std(1, keepdim=True) + 1e-6))[:, -1]

    optimiser.zero_grad(set_to_none=True)
    h = model(ids[:, :-1], torch.arange(width - 1).expand(len(rows), -1))  # right padding: causal is enough
    logp = (h[mask] @ model.embed.T).log_softmax(-1)  # [N, V]
    chosen = logp.gather(-1, ids[:, 1:][mask][:, None])[:, 0]
    row = torch.arange(len(rows))[:, None].expand_as(mask)[mask]
    with torch.no_grad():
        entropy = -(logp.exp() * logp).sum(-1)
        h_row = torch.zeros(len(rows)).index_add(0, row, entropy) / mask.sum(1)
        n_demo, n_roll = mask[demo].sum(), mask[~demo].sum()
        right = torch.cat([rewards, torch.ones(len(prompts))]) > 0
        w_logp = torch.where(demo, -0.5 * torch.exp(-h_row), torch.where(right, -0.1 * torch.exp(h_row), 1.0))
        w_logp = w_logp / torch.where(demo, n_demo, n_roll)
        w_p = torch.cat([torch.zeros(len(responses)), -advantage]) / n_demo
    loss = (w_logp[row] * chosen + w_p[row] * chosen.exp()).sum()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach()), int(mask.sum()), ids.numel()


def check_cache(model, prompts, group, stops, seed):
    """Cached decoding gives the log-probabilities of one uncached pass over the same tokens."""
    responses, logprobs, _ = rollout(model, prompts, group, stops, torch.Generator().manual_seed(seed))
    for r in range(0, len(responses), 37):
        prompt, y = prompts[r // group], responses[r]
        with torch.no_grad():
            ids = torch.cat([prompt, y])[None]
            logits = model(ids, torch.arange(ids.shape[1])[None])[0, len(prompt) - 1 : -1] @ model.embed.T
        logits[:, EOS] = torch.finfo(torch.float32).min
        expected = logits.log_softmax(-1).gather(-1, y[:, None])[:-1, 0]  # the last one was forced
        assert (logprobs[r, : len(y) - 1] - expected).abs().max() < 1e-4


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in [("prompts", 32), ("group", 8), ("steps", 10), ("warm-up", 3), ("threads", 2), ("mean-length", 17), ("seed", 0)]:
        parser.add_argument("--" + name, type=int, default=default)
    a = parser.parse_args()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    model = Llama()
    optimiser = torch.optim.AdamW(model.parameters(), lr=8e-4, betas=(0.9, 0.95))
    lengths = lambda n: (a.mean_length + 5 * torch.randn(n)).round().long().clamp(4, MAX_NEW)
    prompts = [torch.randint(3, V, (n,)) for n in torch.randint(6, 10, (a.prompts,)).tolist()]
    demonstrations = [torch.cat([torch.randint(3, V, (n - 1,)), torch.tensor([EOS])]) for n in lengths(a.prompts).tolist()]
    stops = lengths(a.prompts * a.group)
    check_cache(model, prompts, a.group, stops, a.seed)

    sampler = torch.Generator().manual_seed(a.seed)
    seconds, cpu = {"rollout": [], "train": []}, {"rollout": [], "train": []}
    for step in range(a.warm_up + a.steps):
        start, start_cpu = time.perf_counter(), time.process_time()
        responses, _, _ = rollout(model, prompts, a.group, stops, sampler)
        rewards = torch.where(torch.rand(len(responses)) < 0.5, 1.0, -1.0)
        middle, middle_cpu = time.perf_counter(), time.process_time()
        loss, trained, positions = train(model, optimiser, prompts, a.group, responses, demonstrations, rewards)
        end, end_cpu = time.perf_counter(), time.process_time()
        if step >= a.warm_up:
            seconds["rollout"].append(middle - start)
            seconds["train"].append(end - middle)
            cpu["rollout"].append(middle_cpu - start_cpu)
            cpu["train"].append(end_cpu - middle_cpu)
    sampled = int(stops.sum())
    print(f"torch {torch.__version__}, {a.threads} threads of {os.cpu_count()} cores, load {os.getloadavg()[0]:.2f}, "
          f"{sum(p.numel() for p in model.parameters())} parameters, last loss {loss:.4f}")
    print(f"{a.prompts} prompts x ({a.group} + 1): {sampled} sampled tokens in {int(stops.max())} decoding steps, "
          f"{trained} trained tokens in {positions} padded positions; median of {a.steps} after {a.warm_up}")
    for stage, tokens in (("rollout", sampled), ("train", trained)):
        s = seconds[stage]
        print(f"{stage:8} {1e3 * statistics.median(s):7.1f} ms ({1e3 * min(s):.1f}..{1e3 * max(s):.1f})  "
              f"{tokens / statistics.median(s):9.0f} tokens/s, CPU {1e3 * statistics.median(cpu[stage]):.0f} ms")
    step_seconds = [r + t for r, t in zip(*seconds.values())]
    print(f"{'step':8} {1e3 * statistics.median(step_seconds):7.1f} ms   peak memory "
          f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


if __name__ == "__main__":
    main()
