#!/usr/bin/env python3
"""Golden files of the clipped ratio loss: what TRL's and verl's own code make of the same rollouts.

Writes losses/golden.json: `inputs` (groups of responses with rewards and old and new
log-probabilities, every number exact in float32) and `configurations`: for each setting of a
library its advantages, loss, d loss / d log-probability of every token, the share of tokens that
the clip held, and the settings of srft's `[objective]` that mean the same.

Nothing of the libraries is rewritten or stubbed. TRL: a whole GRPOTrainer, of which a subclass
replaces what would sample (`_generate`) and what would run the model
(`_get_per_token_logps_and_entropies`); its reward function returns the rewards above. Advantages
come from `_generate_and_score_completions`, the loss from `_compute_loss`. verl: core_algos'
functions, with its own ActorConfig.
Before anything is written, each is held against plain loops in float64 of srft's conventions, the
library's epsilon put in: so the settings listed do mean the same.

verl asks for an older transformers, so it goes in without its dependencies (losses/README.md says how).

    python tests/golden/make_losses.py
"""

import json
import os
import pathlib
import tempfile
import warnings

import numpy as np
import torch
import transformers
from datasets import Dataset
from transformers import AutoTokenizer
from trl import GRPOConfig, GRPOTrainer
from verl.trainer.ppo import core_algos
from verl.workers.config import ActorConfig, PolicyLossConfig

from common import header
from make_models import eager
from numpy_srft import advantages

HERE = pathlib.Path(__file__).parent
FOLDER = HERE / "losses"
HEADER = header("make_losses.py", "trl", "verl") | {"regenerate": "as tests/golden/losses/README.md says"}
EPSILON = {"trl": 1e-4, "verl": 1e-6}  # what each adds to a group's standard deviation
CLIP_LOW, CLIP_HIGH = 0.2, 0.28
LONGEST = 10  # TRL's max_completion_length, verl's loss_scale_factor; the longest response has 9 tokens
REWARDS = [
    [1, -1, -1, 1, -1, -1],
    [1, 1, 1, 1, 1, 1],  # all equal: no gradient, but its tokens count
    [0, 0, 0, 0, 0, 1],
    [0.125, 0.5, 0.25, 1, 0.75, 0.5],
]
LENGTHS = [[9, 4, 1, 6, 3, 8], [5, 2, 7, 1, 4, 6], [3, 8, 5, 2, 7, 9], [6, 1, 9, 4, 5, 2]]
SEQUENCES, TOKENS = sum(map(len, LENGTHS)), sum(map(sum, LENGTHS))
# ln of the ratio's range, by turns: inside the clip, between 1.2 and 1.28 (only the higher clip
# lets it through), above, below, far above (verl's dual clip at 3 takes it), far below.
RANGES = [(-0.2, 0.17), (0.19, 0.24), (0.26, 0.7), (-0.7, -0.24), (1.2, 2.0), (-2.5, -1.0)]


def make_inputs():
    rng = np.random.default_rng(5)
    turn, groups = 0, []
    for rewards, lengths in zip(REWARDS, LENGTHS):
        responses = []
        for length in lengths:
            ratio = [rng.uniform(*RANGES[(turn + t) % len(RANGES)]) for t in range(length)]
            turn += length + 1  # so that short responses do not all begin alike
            new = -rng.exponential(1.0, length) - 0.01
            old = np.minimum(new - ratio, -0.001)
            responses.append({"old_logprobs": np.float32(old).tolist(), "logprobs": np.float32(new).tolist()})
        groups.append({"rewards": [float(np.float32(r)) for r in rewards], "responses": responses})
    # What only some of the configurations read: the base's log-probabilities, entropies, and which were cut.
    rng = np.random.default_rng(6)
    for k, response in enumerate(r for g in groups for r in g["responses"]):
        new = np.array(response["logprobs"])
        response["base_logprobs"] = np.float32(np.minimum(new + rng.normal(0, 0.6, len(new)), -0.001)).tolist()
        response["entropies"] = np.float32(rng.exponential(0.7, len(new))).tolist()
        response["truncated"] = k % 5 == 2
    return groups


def padded(groups, key):
    """[B, T] f64, 0 beyond a response."""
    rows = [torch.tensor(r[key], dtype=torch.float64) for g in groups for r in g["responses"]]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)


def ragged(values):
    """[B, T] -> per group, per response, its tokens."""
    rows = iter(values.tolist())
    return [[next(rows)[:length] for length in lengths] for lengths in LENGTHS]


def grouped(values):
    flat = iter(values.tolist())
    return [[next(flat) for _ in lengths] for lengths in LENGTHS]


class FixedTrainer(GRPOTrainer):
    """Completions and log-probabilities are given; all else is TRL's."""

    def _generate(self, prompts):
        # One that was cut does not end with an end-of-text.
        ends = [7 if r["truncated"] else self.eos_token_ids[0] for g in self.groups for r in g["responses"]]
        lengths = [n for of in LENGTHS for n in of]
        completions = [[7] * (n - 1) + [end] for n, end in zip(lengths, ends)]
        prompt_ids = [[5, 6, 7] for _ in prompts]
        return prompt_ids, completions, None, [""] * len(prompts), None, {}, None, None

    def _get_per_token_logps_and_entropies(self, *_, **__):
        return self.given_logprobs, padded(self.groups, "entropies"), None


def trl(groups, loss_type, scale_rewards, beta=0.0, **others):
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder, use_cpu=True, bf16=False, report_to=[], per_device_train_batch_size=SEQUENCES,
            gradient_accumulation_steps=1, num_generations=len(REWARDS[0]), max_completion_length=LONGEST,
            loss_type=loss_type, scale_rewards=scale_rewards,
            **{"epsilon": CLIP_LOW, "epsilon_high": CLIP_HIGH, "beta": 0.0} | others)
        trainer = FixedTrainer(
            model=eager("qwen2"), args=config, train_dataset=Dataset.from_dict({"prompt": ["1+1="] * len(REWARDS)}),
            processing_class=AutoTokenizer.from_pretrained(HERE / "qwen2-sharded"),
            reward_funcs=lambda **_: [r for g in groups for r in g["rewards"]])
        trainer.groups = groups
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = config.gradient_accumulation_steps  # as its loop sets it
        trainer.given_logprobs = padded(groups, "logprobs").requires_grad_()
        batch = trainer._generate_and_score_completions([{"prompt": "1+1="}] * SEQUENCES)
        masked = others.get("mask_truncated_completions", False)
        assert batch["num_items_in_batch"] == (tokens_kept(groups) if masked else TOKENS)
        assert "old_per_token_logps" not in batch
        batch["old_per_token_logps"] = padded(groups, "old_logprobs")
        # A beta from the start would load a second model, which would not be asked.
        trainer.beta, batch["ref_per_token_logps"] = beta, padded(groups, "base_logprobs")
        loss = trainer._compute_loss(trainer.model, batch)
        loss.backward()
        name = "cispo_clip_ratio" if loss_type == "cispo" else "clip_ratio/region_mean"
        # Of a quantile of the tokens TRL counts the others, too; of sequences' ratios it counts sequences.
        apart = "top_entropy_quantile" in others or "importance_sampling_level" in others
        clipped = None if apart else trainer._metrics["train"][name][-1]
        return batch["advantages"], loss, trainer.given_logprobs.grad, clipped


def tokens_kept(groups):
    return sum(len(r["logprobs"]) for g in groups for r in g["responses"] if not r["truncated"])


def verl(groups, loss_agg_mode, by_std, dual_clip, loss_of="vanilla", kl_in_loss=None, kl_in_reward=None, cov=None):
    # Clip-Cov asks the policy that trains: in a step's first update the one that sampled.
    old, new = padded(groups, "old_logprobs"), padded(groups, "old_logprobs" if cov else "logprobs").requires_grad_()
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(n) for lengths in LENGTHS for n in lengths], batch_first=True)
    rewards = torch.zeros_like(old)
    rewards[:, 0] = torch.tensor([r for g in groups for r in g["rewards"]], dtype=torch.float64)
    if kl_in_reward:  # ray_trainer.apply_kl_penalty, without its controller
        kind, beta = kl_in_reward
        rewards = rewards - beta * core_algos.kl_penalty(old, padded(groups, "base_logprobs"), kind) * mask
    index = np.array([k for k, lengths in enumerate(LENGTHS) for _ in lengths])
    scaled, _ = core_algos.compute_grpo_outcome_advantage(rewards, mask, index, norm_adv_by_std_in_grpo=by_std)
    own = {}
    if cov:  # all of those in range: none is drawn
        own = {"policy_loss": PolicyLossConfig(clip_cov_ratio=1.0, clip_cov_lb=cov[0], clip_cov_ub=cov[1])}
    config = ActorConfig(strategy="fsdp", rollout_n=len(REWARDS[0]), ppo_micro_batch_size_per_gpu=1,
                         clip_ratio_low=CLIP_LOW, clip_ratio_high=CLIP_HIGH, clip_ratio_c=dual_clip, **own)
    config.global_batch_info["loss_scale_factor"] = LONGEST
    compute = {"vanilla": core_algos.compute_policy_loss_vanilla, "gspo": core_algos.compute_policy_loss_gspo,
               "clip_cov": core_algos.compute_policy_loss_clip_cov}[loss_of]
    loss, metrics = compute(old, new, scaled, mask, loss_agg_mode, config)
    if kl_in_loss:  # workers/utils/losses.py
        kind, beta = kl_in_loss
        kld = core_algos.kl_penalty(new, padded(groups, "base_logprobs"), kind)
        loss = loss + beta * core_algos.agg_loss(kld, mask, loss_agg_mode)
    loss.backward()
    # Of Clip-Cov verl counts the tokens that lost their gradient, srft those that the ratio's clip held.
    return scaled[:, 0], loss, new.grad, None if cov else metrics["actor/pg_clipfrac"]


def plain_loops(groups, settings, epsilon):
    """srft's conventions, token by token: crates/trainer/src/objective/{advantage,assemble}.rs, crates/kernels/src/objective."""
    get = settings.get
    masked = get("truncated") == "masked"
    kept = tokens_kept(groups) if masked else TOKENS
    divisor = {"token-mean": lambda n: kept, "sequence-mean": lambda n: SEQUENCES * n,
               "sum-constant": lambda n: settings["aggregate_constant"],
               "sequence-constant": lambda n: SEQUENCES * settings["aggregate_constant"]}[settings["aggregate"]]
    beta, in_reward, k1 = get("rollout_kl", 0), get("rollout_kl_in") == "reward", get("kl_form") == "k1"
    lowest = -1
    if "top_entropy" in settings:
        lowest = np.quantile([h for g in groups for r in g["responses"] for h in r["entropies"]], 1 - settings["top_entropy"])
    low, high, dual = 1 - settings["clip_low"], 1 + settings["clip_high"], get("dual_clip", 0) or np.inf
    by_ratio = get("kl_form") == "k3-ratio"
    kl = lambda p, base: p - base if k1 else np.exp(base - p) - 1 - (base - p)
    loss, gradients, held = 0.0, [], 0
    cov, at = settings.get("clip_cov"), "old_logprobs" if "clip_cov" in settings else "logprobs"
    if cov:
        each = [advantages(np.array(g["rewards"]), settings["advantage_std"], epsilon) for g in groups]
        pairs = np.array([(a, p) for of, g in zip(each, groups) for a, r in zip(of, g["responses"]) for p in r[at]])
        products = iter(np.prod(pairs - pairs.mean(0), 1))
        between = lambda: settings["clip_cov_low"] < next(products) < settings["clip_cov_high"]
    for group in groups:
        rewards = np.array(group["rewards"])
        if in_reward:
            off = lambda r: sum(kl(p, b) for p, b in zip(r["old_logprobs"], r["base_logprobs"]))
            rewards = rewards - beta * np.array([off(r) for r in group["responses"]])
        advantage = advantages(rewards, settings["advantage_std"], epsilon)
        gradients.append([])
        for a, r in zip(advantage, group["responses"]):
            n, tokens = len(r["logprobs"]), []
            gradients[-1].append(tokens)
            if masked and r["truncated"]:
                tokens.extend([0.0] * n)
                continue
            mean = np.mean(np.array(r[at]) - r["old_logprobs"])
            for new, old, base, h in zip(r[at], r["old_logprobs"], r["base_logprobs"], r["entropies"]):
                ratio, c = np.exp(mean if get("ratio") == "sequence" else new - old), -a / divisor(n) * (h >= lowest)
                c *= not (cov and between())
                inside = np.clip(ratio, low, high)
                if get("clip") == "weight":
                    value, slope = c * inside * new, c * inside
                    held += c < 0 and ratio > high
                elif c * ratio < c * inside:
                    value, slope = c * inside, 0.0
                    held += 1
                elif c > 0 and ratio > dual:
                    value, slope = c * dual, 0.0
                else:
                    value, slope = c * ratio, c * ratio
                if beta and not in_reward:
                    rho = np.exp(new - old) if by_ratio else 1
                    value += beta / divisor(n) * rho * kl(new, base)
                    slope += beta / divisor(n) * (1 if k1 else rho * (new - base) if by_ratio else 1 - np.exp(base - new))
                loss += value
                tokens.append(slope)
    return loss, gradients, held / kept


def objective(by_std, aggregate, constant=None, **others):
    settings = {"advantage_std": by_std, "aggregate": aggregate, "clip_low": CLIP_LOW, "clip_high": CLIP_HIGH}
    return settings | ({} if constant is None else {"aggregate_constant": constant}) | others


# Name: library, its arguments, and srft's aggregate with its constant. A dual clip so far away is off.
OFF = 1e9
AGGREGATES = {
    ("trl", "grpo"): ("sequence-mean", None),
    ("trl", "bnpo"): ("token-mean", None),
    ("trl", "dapo"): ("token-mean", None),
    ("trl", "dr_grpo"): ("sequence-constant", LONGEST),
    ("verl", "token-mean"): ("token-mean", None),
    ("verl", "token-sum"): ("sum-constant", 1),
    ("verl", "seq-mean-token-mean"): ("sequence-mean", None),
    ("verl", "seq-mean-token-sum"): ("sequence-constant", 1),
    ("verl", "seq-mean-token-sum-norm"): ("sequence-constant", LONGEST),
}


def main():
    groups = make_inputs()
    configurations, worst = {}, {}

    def add(name, library, settings, result, srft):
        advantage, loss, gradient, clipped = result
        configurations[name] = {
            "library": library, "settings": settings, "objective": srft, "advantage_epsilon": EPSILON[library],
            "advantages": grouped(advantage), "loss": float(loss.detach()), "clip_fraction": None if clipped is None else float(clipped),
            "d_logprobs": ragged(gradient),
        }
        print(f"{name:34} loss {float(loss.detach()):+.9f}, clipped {clipped}")
        mine, my_gradients, held = plain_loops(groups, srft, EPSILON[library])
        largest = max(abs(x) for g in my_gradients for r in g for x in r)
        off = max(abs(x - y) for g, h in zip(my_gradients, ragged(gradient)) for r, s in zip(g, h) for x, y in zip(r, s))
        # A small loss is what is left of larger terms of both signs.
        off, off_loss = float(off / largest), float(abs(mine - loss.detach()) / max(abs(mine), 0.05))
        worst[library] = max(worst.get(library, 0), off, off_loss)
        assert max(off, off_loss) < 1e-6 and (clipped is None or abs(held - clipped) < 1e-6), (name, off, off_loss, held, clipped)

    for (library, mode), (aggregate, constant) in AGGREGATES.items():
        for by_std in (True, False):
            scale = "group" if by_std else "none"
            if library == "trl":
                settings, result = {"loss_type": mode, "scale_rewards": scale}, trl(groups, mode, scale)
                settings |= {"epsilon": CLIP_LOW, "epsilon_high": CLIP_HIGH, "beta": 0.0, "max_completion_length": LONGEST}
            else:
                settings, result = {"loss_agg_mode": mode, "norm_adv_by_std_in_grpo": by_std}, verl(groups, mode, by_std, OFF)
                settings |= {"clip_ratio_low": CLIP_LOW, "clip_ratio_high": CLIP_HIGH, "clip_ratio_c": OFF,
                             "loss_scale_factor": LONGEST}
            name = f"{library} {mode}, {'std' if by_std else 'no std'}"
            add(name, library, settings, result, objective(by_std, aggregate, constant))
    settings = configurations["verl token-mean, std"]["settings"] | {"clip_ratio_c": 3.0}
    add("verl token-mean, std, dual clip", "verl", settings, verl(groups, "token-mean", True, 3.0),
        objective(True, "token-mean", dual_clip=3.0))

    # Each of TRL's further settings alone.
    def trl_with(name, mode, srft, **others):
        settings = configurations[f"trl {mode}, std"]["settings"] if mode != "cispo" else {"loss_type": mode, "scale_rewards": "group"}
        add(f"trl {mode}, {name}", "trl", settings | others, trl(groups, mode, "group", **others), srft)

    trl_with("sequence ratio", "grpo", objective(True, "sequence-mean", ratio="sequence"), importance_sampling_level="sequence")
    trl_with("cispo", "cispo", objective(True, "token-mean") | {"clip": "weight", "clip_low": 1.0, "clip_high": 1.0}, epsilon_high=2.0)
    for mode in ("grpo", "bnpo", "dapo", "dr_grpo"):
        aggregate, constant = AGGREGATES["trl", mode]
        trl_with("masked", mode, objective(True, aggregate, constant, truncated="masked"), mask_truncated_completions=True)
        trl_with("KL", mode, objective(True, aggregate, constant, rollout_kl=0.1, kl_form="k3-ratio"), beta=0.1)
    trl_with("plain KL", "dapo", objective(True, "token-mean", rollout_kl=0.1), beta=0.1, use_bias_correction_kl=False)
    trl_with("top entropy", "dapo", objective(True, "token-mean", top_entropy=0.2), top_entropy_quantile=0.2)
    trl_with("delta", "dapo", objective(True, "token-mean", dual_clip=3.0), delta=3.0)
    # And verl's.
    verl_settings = configurations["verl token-mean, std"]["settings"]
    mean = ("seq-mean-token-mean", True, OFF)
    add("verl gspo", "verl", verl_settings | {"loss_agg_mode": mean[0], "loss_mode": "gspo"},
        verl(groups, *mean, loss_of="gspo"), objective(True, "sequence-mean", ratio="sequence"))
    for kind, form in (("kl", "k1"), ("low_var_kl", "k3")):
        add(f"verl {form} in the loss", "verl", verl_settings | {"kl_loss_type": kind, "kl_loss_coef": 0.1},
            verl(groups, "token-mean", True, OFF, kl_in_loss=(kind, 0.1)),
            objective(True, "token-mean", rollout_kl=0.1, kl_form=form))
    # In the reward with k1 alone: verl's k3 ends at 10, which ratios as far apart as these pass.
    add("verl k1 in the reward", "verl", verl_settings | {"kl_penalty": "kl", "kl_coef": 0.1},
        verl(groups, "token-mean", True, OFF, kl_in_reward=("kl", 0.1)),
        objective(True, "token-mean", rollout_kl=0.1, kl_form="k1", rollout_kl_in="reward"))

    cov = (0.5, 2.0)
    add("verl clip-cov, at the sampler", "verl",
        verl_settings | {"loss_mode": "clip_cov", "clip_cov_ratio": 1.0, "clip_cov_lb": cov[0], "clip_cov_ub": cov[1]},
        verl(groups, "token-mean", True, OFF, loss_of="clip_cov", cov=cov),
        objective(True, "token-mean", clip_cov=1.0, clip_cov_low=cov[0], clip_cov_high=cov[1]))
    dropped = sum(x == 0 for k, g in enumerate(configurations["verl clip-cov, at the sampler"]["d_logprobs"])
                  if k != 1 for r in g for x in r)
    assert dropped > 5, dropped

    # The inputs show every case, none on the brink, and every setting of srft.
    ratio = (padded(groups, "logprobs") - padded(groups, "old_logprobs")).exp()
    sign = torch.tensor([a for g in configurations["verl token-mean, std"]["advantages"] for a in g]).sign()[:, None]
    inside = padded(groups, "logprobs") != 0
    low, high = 1 - CLIP_LOW, 1 + CLIP_HIGH
    for way in (1, -1):
        for region in (ratio < low, (ratio > low) & (ratio < high), ratio > high, (ratio > 1.2) & (ratio < high)):
            assert (region & inside & (sign == way)).sum() >= 2, (way, region)
    for edge in (low, high, 1 + CLIP_LOW, 3.0):
        assert (ratio - edge)[inside].abs().min() > 1e-3, edge
    apart = {json.dumps(c["d_logprobs"]) for c in configurations.values() if c["library"] == "verl"}
    assert len(apart) == 16, "two configurations of verl coincide"

    stds = [float(np.std(g["rewards"], ddof=1)) for g in groups]
    golden = {**HEADER, "apart_from_plain_loops": worst,
              "inputs": {"sequences": SEQUENCES, "tokens": TOKENS, "reward_stds": stds, "groups": groups},
              "configurations": configurations}
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "golden.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(f"apart from srft's conventions, relative: {worst}; reward stds {stds}")


if __name__ == "__main__":
    os.chdir(HERE)
    warnings.simplefilter("ignore")
    transformers.logging.disable_progress_bar()
    torch.set_num_threads(1)
    print(json.dumps(HEADER["libraries"]))
    main()
