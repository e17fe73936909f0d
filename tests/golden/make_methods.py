#!/usr/bin/env python3
"""Golden file of the methods: what their authors' own code makes of the same rollouts and demonstrations.

Writes methods/golden.json: `inputs` (groups with rewards and log-probabilities, old and new, and a
demonstration each, with entropies and the base model's log-probabilities where a method reads them;
every number exact in float32) and `configurations`: for each method its loss, d loss / d
log-probability of every token, and the settings of srft's `[objective]` that mean the same.

Nothing of theirs is rewritten: functions are called from pip packages (verl, trinity-rft) and from
checkouts under DIR, which methods/README.md lists; a method of a class that cannot be made here is
taken out of its file by name. What stands between their functions, and is ours, is the choice of
sequences that each is given.

    python tests/golden/make_methods.py DIR
"""

import ast
import contextlib
import importlib.util
import io
import json
import pathlib
import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from trinity.algorithm.policy_loss_fn.chord_policy_loss import MIXCHORDPolicyLossFn
from verl.trainer.ppo import core_algos as verl
from verl.utils.torch_functional import masked_mean
from verl.workers.config import ActorConfig

from common import header

FOLDER = pathlib.Path(__file__).parent / "methods"
HEADER = header("make_methods.py", "verl", "trinity-rft")
HEADER |= {"regenerate": "as tests/golden/methods/README.md says"}
CLIP, CLIP_HIGH = 0.2, 0.28
# Rewards are 1 and 0, the demonstration's last: half solved, unsolved, solved but for one (and taught
# wrong), solved.
REWARDS = [[1, 0, 0, 1, 1], [0, 0, 0, 0, 1], [1, 1, 0, 1, 0], [1, 1, 1, 1, 1]]
LENGTHS = [[9, 4, 1, 6, 8], [5, 2, 7, 3, 10], [3, 8, 5, 2, 4], [6, 1, 9, 4, 7]]
WIDTH = 10  # of the padded batch, which some of them divide by
STEP = 70  # of CHORD's 200 of decay


def make_inputs():
    rng = np.random.default_rng(11)
    exact = lambda values: np.float32(values).tolist()
    ranges = [(-0.2, 0.17), (0.19, 0.24), (0.26, 0.7), (-0.7, -0.24)]  # of ln ρ
    turn, groups = 0, []
    for rewards, lengths in zip(REWARDS, LENGTHS):
        members = []
        for length in lengths:
            new = -rng.exponential(1.0, length) - 0.01
            ratio = [rng.uniform(*ranges[(turn + t) % len(ranges)]) for t in range(length)]
            turn += length + 1
            entropies = rng.exponential(0.7, length)
            members.append({"logprobs": exact(new), "old_logprobs": exact(np.minimum(new - ratio, -0.001)),
                            "entropies": exact(entropies)})
        groups.append({"rewards": [float(r) for r in rewards], "members": members})
    return groups


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def method_of(path, name):
    """A function that a file defines within a class, by itself."""
    source = path.read_text()
    found = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef) and n.name == name]
    assert len(found) == 1, (path, name)
    scope = {"torch": torch}
    exec(textwrap.dedent("    " * (found[0].col_offset // 4) + ast.get_source_segment(source, found[0])), scope)
    return scope[name]


class Batch:
    """The sequences of some groups, padded: rollouts, demonstrations, or both, [B, T] f64."""

    def __init__(self, groups, logprobs, chosen):
        """`logprobs` are the leaves, by group and member; `chosen` picks (group, member)."""
        self.keys = [(g, m) for g, of in enumerate(LENGTHS) for m in range(len(of)) if chosen(g, m)]
        part = lambda key: [torch.tensor(groups[g]["members"][m][key], dtype=torch.float64) for g, m in self.keys]
        self.demo = torch.tensor([m == len(LENGTHS[g]) - 1 for g, m in self.keys])
        self.rewards = torch.tensor([groups[g]["rewards"][m] for g, m in self.keys], dtype=torch.float64)
        self.index = np.array([g for g, _ in self.keys])
        pad = lambda rows: torch.nn.functional.pad(rows, (0, WIDTH - rows.shape[1]))
        stack = lambda rows: pad(pad_sequence(rows, batch_first=True))
        self.log_prob = stack([logprobs[g][m] for g, m in self.keys])
        self.old = stack(part("old_logprobs"))
        self.entropy = stack(part("entropies"))
        self.mask = stack([torch.ones(LENGTHS[g][m]) for g, m in self.keys])
        self.prefix = self.demo[:, None].expand_as(self.mask).clone()

    def scores(self):
        """Rewards where verl's kind of code looks for them."""
        scores = torch.zeros_like(self.old)
        scores[:, 0] = self.rewards
        return scores


IS_DEMO = lambda g, m: m == len(LENGTHS[g]) - 1
ROLLOUTS = lambda g, m: not IS_DEMO(g, m)
ALL = lambda g, m: True


def advantages(algos, batch, **settings):
    return algos.compute_grpo_outcome_advantage(batch.scores(), batch.mask, index=batch.index, **settings)[0]


def main(upstream):
    luffy, hpt, relift = upstream / "LUFFY/luffy/verl/verl", upstream / "Unify-Post-Training/hpt/verl/verl", upstream / "ReLIFT/relift/verl/verl"
    luffy_loss, luffy_algos = load(luffy / "mix_src/mix_core_alg.py"), load(luffy / "trainer/ppo/core_algos.py")
    hpt_loss, hpt_algos = load(hpt / "mix_src/mix_core_alg.py"), load(hpt / "trainer/ppo/core_algos.py")
    hpt_gate = method_of(hpt / "mix_src/mix_trainer.py", "select_on_off_ada_balance")
    relift_loss = load(relift / "relift/core_algos.py")
    dr_advantages = method_of(upstream / "understand-r1-zero/train_zero_math.py", "compute_monte_carlo_advantages")
    masked_sum = load(upstream / "oat/oat/utils/ops.py").masked_sum
    groups = make_inputs()

    def sft(batch):
        return hpt_loss.compute_sft_pure_loss(batch.log_prob, batch.mask)

    def vanilla(batch, aggregate, high=CLIP, cap=10.0):
        config = ActorConfig(strategy="fsdp", rollout_n=4, ppo_micro_batch_size_per_gpu=1,
                             clip_ratio_low=CLIP, clip_ratio_high=high, clip_ratio_c=cap)
        return verl.compute_policy_loss_vanilla(batch.old, batch.log_prob, advantages(verl, batch), batch.mask, aggregate, config)[0]

    def sft_kl(of):
        batch = of(IS_DEMO)
        # The old log-probabilities of a demonstration stand for the base model's.
        return sft(batch) + 0.2 * masked_mean(verl.kl_penalty_forward(batch.log_prob, batch.old, "low_var_kl"), batch.mask)

    def dr_grpo(of):
        batch = of(ROLLOUTS)
        settings = SimpleNamespace(args=SimpleNamespace(num_samples=4, critic_type="drgrpo"))
        a = dr_advantages(settings, batch.scores(), None)[:, None]
        ratio = (batch.log_prob - batch.old).exp()
        worse = torch.max(-a * ratio, -a * ratio.clamp(1 - CLIP, 1 + CLIP))
        return masked_sum(worse, batch.mask, axis=1, constant_normalizer=12).mean()

    def dapo(of):
        mixed = [len(set(r[:-1])) > 1 for r in REWARDS]  # recipe/dapo/dapo_ray_trainer.py keeps std > 0
        return vanilla(of(lambda g, m: ROLLOUTS(g, m) and mixed[g]), "token-mean", high=CLIP_HIGH)

    def sft_plus_grpo(of):
        return sft(of(IS_DEMO)) + vanilla(of(ROLLOUTS), "seq-mean-token-mean")

    def luffy_of(of):
        batch = of(ALL)
        return luffy_loss.compute_token_on_off_policy_loss(
            batch.old, batch.log_prob, advantages(luffy_algos, batch, use_std=False), batch.mask, CLIP, 1.0, batch.prefix, CLIP,
            off_policy_reshape="p_div_p_0.1", loss_remove_token_mean=True, loss_remove_clip=True)["pg_loss"]

    def relift_rl(of):
        batch = of(ROLLOUTS)
        return relift_loss.compute_policy_loss(
            batch.old, batch.log_prob, advantages(luffy_algos, batch, use_std=False), batch.mask, CLIP,
            loss_remove_token_mean=True, loss_remove_clip=True)["pg_loss"]

    def relift_sft(of):
        batch = of(IS_DEMO)
        return relift_loss.compute_sft_loss(batch.log_prob, batch.mask)["sft_loss"]

    def chord(of, **settings):
        rollouts, batch = of(ROLLOUTS), of(ALL)
        a = torch.zeros_like(batch.old)
        a[~batch.demo] = advantages(verl, rollouts)
        loss = MIXCHORDPolicyLossFn(clip_range=CLIP, use_dynamic_bsz=False, train_batch_size_usual=len(rollouts.keys),
                                    train_batch_size_expert=int(batch.demo.sum()), **settings)
        step = torch.full((len(batch.keys),), STEP)
        return loss(logprob=batch.log_prob, old_logprob=batch.old, action_mask=batch.mask, advantages=a,
                    expert_mask=batch.demo, step=step)[0]

    def hpt_of(of, gate):
        trainer = SimpleNamespace(unify_strategy="switch", switch_gate=gate, switch_gate_off=0)
        config = SimpleNamespace(config=SimpleNamespace(trainer=trainer))
        imitated = [hpt_gate(config, sum(r[:-1]))[2] == 1 for r in REWARDS]
        rollouts = of(lambda g, m: ROLLOUTS(g, m) and not imitated[g])
        on, *_ = hpt_algos.compute_policy_loss(
            rollouts.old, rollouts.log_prob, advantages(hpt_algos, rollouts, use_std=False), rollouts.mask, CLIP,
            loss_remove_token_mean=True, loss_remove_clip=True)
        return sft(of(lambda g, m: IS_DEMO(g, m) and imitated[g])) + on

    def srft_hpt(of):
        batch = of(ALL)
        h = masked_mean(batch.entropy, batch.mask, axis=-1)  # mix_actor.py lines 350-353
        demonstrations = SimpleNamespace(log_prob=(batch.log_prob * (0.5 * torch.exp(-h))[:, None])[batch.demo], mask=batch.mask[batch.demo])
        mixed = hpt_loss.compute_token_on_off_policy_srft_loss(
            batch.old, batch.log_prob, advantages(hpt_algos, batch, use_std=False), batch.mask, CLIP, 1.0, batch.prefix, CLIP,
            on_coef=0.1 * torch.exp(h), correct_answer_mask=batch.rewards == 1, srft_type="paper",
            off_policy_reshape="p_div_p_0.1", loss_remove_token_mean=True, loss_remove_clip=True)
        return sft(demonstrations) + mixed["pg_loss"]

    width = {"aggregate_constant": float(WIDTH)}
    extra = {"group_of": "extra"}  # the inputs have four rollouts beside the demonstration
    phi = {"mu": 0.1, "mu_end": 0.1, "sft_token_weight": "p(1-p)"}
    decay = {"mu_warmup_steps": 0, "mu_decay_steps": 200}
    cases = {
        "sft": ("sft", {}, lambda of: sft(of(IS_DEMO))),
        "sft-kl": ("sft-kl", {}, sft_kl),
        "dr-grpo": ("dr-grpo", {"aggregate_constant": 12.0}, dr_grpo),
        "dapo": ("dapo", {}, dapo),
        "sft+grpo": ("sft+grpo", {}, sft_plus_grpo),
        "luffy": ("luffy", width | extra, luffy_of),
        "relift, RL step": ("relift", width, relift_rl),
        "relift, SFT step": ("relift", width, relift_sft),
        "chord-mu": ("chord", {}, lambda of: chord(of, mu_peak=0.9, mu_valley=0.05, enable_phi_function=False, **decay)),
        "chord-mu, warming up": ("chord", {"mu_warmup_steps": 100}, lambda of: chord(
            of, mu_peak=0.9, mu_valley=0.05, enable_phi_function=False, **(decay | {"mu_warmup_steps": 100}))),
        "chord-phi": ("chord", phi, lambda of: chord(of, mu_peak=0.1, mu_valley=0.1, enable_phi_function=True, **decay)),
        "hpt": ("hpt", width, lambda of: hpt_of(of, 0)),
        "hpt, a half": ("hpt", width | {"gate_share": 0.5}, lambda of: hpt_of(of, 2)),
        "srft-hpt": ("srft-hpt", width | extra, srft_hpt),
    }
    configurations = {}
    for name, (method, settings, loss_of) in cases.items():
        leaves = [[torch.tensor(m["logprobs"], dtype=torch.float64, requires_grad=True) for m in g["members"]] for g in groups]
        with contextlib.redirect_stdout(io.StringIO()):
            loss = loss_of(lambda chosen: Batch(groups, leaves, chosen))
        loss.backward()
        slopes = [[(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad).tolist() for leaf in of] for of in leaves]
        configurations[name] = {"method": method, "objective": settings, "step": STEP, "loss": loss.item(), "d_logprobs": slopes}
        print(f"{name:24} {loss.item():+.9f}")
    apart = {json.dumps(c["d_logprobs"]) for c in configurations.values()}
    assert len(apart) == len(cases) - 1, "only sft and ReLIFT's SFT step are the same"
    FOLDER.mkdir(exist_ok=True)
    golden = {**HEADER, "inputs": {"groups": groups}, "configurations": configurations}
    (FOLDER / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(pathlib.Path(sys.argv[1]))
