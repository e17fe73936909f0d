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
from verl.workers.config import ActorConfig

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
        completions = [[3 + t for t in range(n)] for lengths in LENGTHS for n in lengths]
        prompt_ids = [[5, 6, 7] for _ in prompts]
        return prompt_ids, completions, None, [""] * len(prompts), None, {}, None, None

    def _get_per_token_logps_and_entropies(self, *_, **__):
        return self.given_logprobs, torch.zeros_like(self.given_logprobs.detach()), None


def trl(groups, loss_type, scale_rewards):
    with tempfile.TemporaryDirectory() as folder:
        config = GRPOConfig(
            output_dir=folder, use_cpu=True, bf16=False, report_to=[], per_device_train_batch_size=SEQUENCES,
            gradient_accumulation_steps=1, num_generations=len(REWARDS[0]), max_completion_length=LONGEST,
            loss_type=loss_type, scale_rewards=scale_rewards, epsilon=CLIP_LOW, epsilon_high=CLIP_HIGH, beta=0.0)
        trainer = FixedTrainer(
            model=eager("qwen2"), args=config, train_dataset=Dataset.from_dict({"prompt": ["1+1="] * len(REWARDS)}),
            processing_class=AutoTokenizer.from_pretrained(HERE / "qwen2-sharded"),
            reward_funcs=lambda **_: [r for g in groups for r in g["rewards"]])
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = config.gradient_accumulation_steps  # as its loop sets it
        trainer.given_logprobs = padded(groups, "logprobs").requires_grad_()
        batch = trainer._generate_and_score_completions([{"prompt": "1+1="}] * SEQUENCES)
        assert batch["num_items_in_batch"] == TOKENS and "old_per_token_logps" not in batch
        batch["old_per_token_logps"] = padded(groups, "old_logprobs")
        loss = trainer._compute_loss(trainer.model, batch)
        loss.backward()
        clipped = trainer._metrics["train"]["clip_ratio/region_mean"][-1]
        return batch["advantages"], loss, trainer.given_logprobs.grad, clipped


def verl(groups, loss_agg_mode, by_std, dual_clip):
    old, new = padded(groups, "old_logprobs"), padded(groups, "logprobs").requires_grad_()
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones(n) for lengths in LENGTHS for n in lengths], batch_first=True)
    rewards = torch.zeros_like(old)
    rewards[:, 0] = torch.tensor([r for g in groups for r in g["rewards"]], dtype=torch.float64)
    index = np.array([k for k, lengths in enumerate(LENGTHS) for _ in lengths])
    scaled, _ = core_algos.compute_grpo_outcome_advantage(rewards, mask, index, norm_adv_by_std_in_grpo=by_std)
    config = ActorConfig(strategy="fsdp", rollout_n=len(REWARDS[0]), ppo_micro_batch_size_per_gpu=1,
                         clip_ratio_low=CLIP_LOW, clip_ratio_high=CLIP_HIGH, clip_ratio_c=dual_clip)
    config.global_batch_info["loss_scale_factor"] = LONGEST
    loss, metrics = core_algos.compute_policy_loss_vanilla(old, new, scaled, mask, loss_agg_mode, config)
    loss.backward()
    return scaled[:, 0], loss, new.grad, metrics["actor/pg_clipfrac"]


def plain_loops(groups, settings, epsilon):
    """srft's conventions, token by token: crates/trainer/src/objective/{advantage,assemble,self_term}.rs."""
    divisor = {"token-mean": lambda n: TOKENS, "sequence-mean": lambda n: SEQUENCES * n,
               "sum-constant": lambda n: settings["aggregate_constant"],
               "sequence-constant": lambda n: SEQUENCES * settings["aggregate_constant"]}[settings["aggregate"]]
    loss, gradients, held = 0.0, [], 0
    for group in groups:
        advantage = advantages(group["rewards"], settings["advantage_std"], epsilon)
        gradients.append([])
        for a, response in zip(advantage, group["responses"]):
            tokens = []
            for new, old in zip(response["logprobs"], response["old_logprobs"]):
                ratio, c = np.exp(new - old), -a / divisor(len(response["logprobs"]))
                clipped = c * np.clip(ratio, 1 - settings["clip_low"], 1 + settings["clip_high"])
                held += c * ratio < clipped
                loss += max(c * ratio, clipped)
                tokens.append(c * ratio if c * ratio >= clipped else 0.0)
            gradients[-1].append(tokens)
    return loss, gradients, held / TOKENS


def objective(by_std, aggregate, constant=None):
    settings = {"advantage_std": by_std, "aggregate": aggregate, "clip_low": CLIP_LOW, "clip_high": CLIP_HIGH}
    return settings | ({} if constant is None else {"aggregate_constant": constant})


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
            "advantages": grouped(advantage), "loss": float(loss.detach()), "clip_fraction": float(clipped),
            "d_logprobs": ragged(gradient),
        }
        print(f"{name:34} loss {float(loss.detach()):+.9f}, clipped {float(clipped):.3f}")
        if srft is None:
            return
        mine, my_gradients, held = plain_loops(groups, srft, EPSILON[library])
        largest = max(abs(x) for g in my_gradients for r in g for x in r)
        off = max(abs(x - y) for g, h in zip(my_gradients, ragged(gradient)) for r, s in zip(g, h) for x, y in zip(r, s))
        off, off_loss = float(off / largest), float(abs(mine - loss.detach()) / abs(mine))
        worst[library] = max(worst.get(library, 0), off, off_loss)
        assert max(off, off_loss) < 1e-6 and abs(held - clipped) < 1e-6, (name, off, off_loss, held, clipped)

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
    add("verl token-mean, std, dual clip", "verl", settings, verl(groups, "token-mean", True, 3.0), None)

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
    assert len(apart) == 11, "two configurations of verl coincide"

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
