"""Every function against a few lines of numpy, and against the program."""

import json
import pickle

import numpy as np
import pytest
import srft
from conftest import DEVICE

close = dict(rtol=2e-5, atol=2e-6)


def log_softmax(logits):
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(axis=1, keepdims=True))


@pytest.fixture(scope="module")
def group(model):
    example = srft.task("add").examples(seed=4, n=1)[0]
    group = srft.Group(example, srft.rollout(model, [example], group=6, seed=4))
    assert len(set(group.rewards)) == 2, "this seed should give right and wrong rollouts"
    return group


def test_the_cpu_is_a_device():
    first = srft.devices()[0]
    assert (first["kind"], first["backend"], first["index"]) == ("CPU", "flex", 0)
    assert sum(device["auto"] for device in srft.devices()) == 1


def test_token_statistics_are_those_of_the_logits(model):
    prompt, response = "59+63=", "9+3=12,5+6+1=12>122"
    stats = srft.token_stats(model, prompt, response)
    logits = model.logits(prompt, response)
    assert logits.dtype == np.float32 and logits.shape == (len(response) + 1, len(model.tokenizer))
    logp = log_softmax(logits)
    np.testing.assert_allclose(stats.logprobs, logp[np.arange(len(logp)), stats.tokens], **close)
    np.testing.assert_allclose(stats.entropies, -(np.exp(logp) * logp).sum(axis=1), **close)
    assert "".join(stats.pieces) == response + "$" and len(stats) == len(response) + 1
    by_ids = srft.token_stats(model, prompt, stats.tokens)
    np.testing.assert_array_equal(by_ids.logprobs, stats.logprobs)
    whole = srft.token_stats(model, prompt + response)
    np.testing.assert_allclose(whole.logprobs[len(prompt) :], stats.logprobs, **close)


def test_token_statistics_are_the_programs(model, program, tmp_path):
    examples = srft.task().examples(seed=5, n=6)
    lines = [{"prompt": e.prompt, "completion": e.demonstration, "answer": e.answer} for e in examples]
    data, out = tmp_path / "data.jsonl", tmp_path / "scored.jsonl"
    data.write_text("\n".join(map(json.dumps, lines)))
    program("score", "--data", data, "--out", out, "--device", DEVICE)
    for example, line in zip(examples, out.read_text().splitlines(), strict=True):
        scored, stats = json.loads(line), srft.token_stats(model, example.prompt, example.demonstration)
        assert scored["tokens"] == stats.tokens.tolist()
        # The program batches them together.
        np.testing.assert_allclose(stats.logprobs, scored["logprobs"], **close)
        np.testing.assert_allclose(stats.entropies, scored["entropies"], **close)


def test_rollouts_know_their_own_log_probabilities(model):
    prompts = ["59+63=", srft.task("sort").examples()[0]]
    episodes = srft.rollout(model, prompts, group=3, seed=1)
    assert [(e.prompt, e.sample) for e in episodes] == [(p, s) for p in range(2) for s in range(3)]
    for episode in episodes:
        stats = srft.token_stats(model, prompts[episode.prompt], episode.tokens)
        np.testing.assert_allclose(episode.logprobs, stats.logprobs, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(episode.entropies, stats.entropies, rtol=1e-3, atol=1e-4)
        assert model.tokenizer.decode(episode.tokens) == episode.response
    again = srft.rollout(model, prompts, group=3, seed=1)
    other = srft.rollout(model, prompts, group=3, seed=2)
    assert [e.response for e in again] == [e.response for e in episodes]
    assert [e.response for e in other] != [e.response for e in episodes]
    greedy = srft.rollout(model, prompts, group=3, temperature=0)
    assert len({e.response for e in greedy[:3]}) == 1
    assert all(e.truncated for e in srft.rollout(model, prompts, group=2, max_new_tokens=1))


def test_log_probabilities_are_at_the_temperature_that_drew(model):
    prompt = "59+63="
    for temperature in [0.5, 2.0]:
        episodes = srft.rollout(model, prompt, group=4, temperature=temperature)
        for episode in episodes:
            assert episode.temperature == temperature
            logits = model.logits(prompt, episode.tokens).astype(np.float64) / temperature
            logprobs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
            own = logprobs[np.arange(len(episode.tokens)), episode.tokens]
            np.testing.assert_allclose(episode.logprobs, own, rtol=1e-3, atol=1e-4)
            entropies = -(np.exp(logprobs) * logprobs).sum(-1)
            np.testing.assert_allclose(episode.entropies, entropies, rtol=1e-3, atol=1e-4)
        # The ratio of the policy to itself is 1: the loss is minus the advantages' token mean.
        rewards = np.array([1.0, -1, -1, 1])
        example = srft.Example(prompt, "122")
        loss = srft.loss(model, srft.Group(example, episodes, rewards), "dapo")
        tokens = np.array([len(e.tokens) for e in episodes])
        expected = -(srft.advantages(rewards) * tokens).sum() / tokens.sum()
        assert loss.terms["self"] == pytest.approx(expected, rel=1e-3, abs=1e-4)
    with pytest.raises(srft.InputError, match="temperature 0"):
        srft.Episode([5], response="1", temperature=0)


def test_what_was_given_is_read_and_not_sampled(model):
    prompt, shown = "59+63=", "59+63=122>122"
    example = srft.Example(prompt, "122", shown)
    # A character is a token of the built-in model.
    whole = srft.rollout(model, prompt + shown[:6], group=2, seed=3)
    given = [
        srft.Episode(e.tokens.tolist(), e.logprobs, e.entropies, response=shown[:6] + e.response, given=6) for e in whole
    ]
    assert [e.given for e in given] == [6, 6]
    loss = srft.loss(model, srft.Group(example, given, [1.0, -1.0], 1.0), "bread")
    tokens = [len(e.tokens) for e in given]
    # The ratio of the policy to itself is 1, so a mean over responses of equal and opposite advantages is 0.
    assert loss.terms["self"] == pytest.approx(0, abs=1e-4) and min(tokens) > 0
    assert loss.prompts[0]["given"] == [shown[:6]] * 2
    assert pickle.loads(pickle.dumps(given[0])).given == 6
    with pytest.raises(srft.InputError, match="99 given tokens of a demonstration of"):
        srft.loss(model, srft.Group(example, [srft.Episode([5, 2], response="2", given=99)], [1.0], 1.0), "bread")


def test_advantages():
    rewards = np.array([1.0, -1, -1, 1, 1])
    expected = (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-6)
    np.testing.assert_allclose(srft.advantages(rewards), expected, rtol=1e-12)
    np.testing.assert_allclose(srft.advantages(rewards, std=False), rewards - rewards.mean())
    np.testing.assert_array_equal(srft.advantages([0.1, 0.1, 0.1]), np.zeros(3))
    with pytest.raises(srft.InputError, match="of rewards is NaN"):
        srft.advantages([0.0, float("nan")])


def test_weights():
    entropy = np.linspace(0, np.log(23), 7)
    w_sft, w_rl = srft.weights(entropy)
    np.testing.assert_allclose(w_sft, 0.5 * np.exp(-entropy), rtol=1e-7)
    np.testing.assert_allclose(w_rl, 0.1 * np.exp(entropy), rtol=1e-7)
    np.testing.assert_allclose(srft.weights(entropy, sft_sign="plus")[0], 0.5 * np.exp(entropy), rtol=1e-7)
    np.testing.assert_allclose(srft.weights(entropy.astype(np.float32))[1], w_rl, rtol=1e-6)
    assert srft.weights([0.0], sft_scale=2, rl_scale=3) == ([2.0], [3.0])


def test_rewards(model):
    example = srft.Example("1+1=", answer="2", demonstration="1+1=2>2")
    episodes = srft.rollout(model, [example], group=8, seed=0)
    right = np.array([e.response.split(">")[-1] == "2" and e.response.count(">") == 1 for e in episodes])
    np.testing.assert_array_equal(srft.rewards(example, episodes), np.where(right, 1.0, -1.0))
    np.testing.assert_array_equal(srft.rewards([example], episodes, values="binary"), right * 1.0)
    lengths = srft.rewards(example, episodes, lambda example, response: min(len(response) / 40, 1))
    np.testing.assert_allclose(lengths, [len(e.response) / 20 - 1 for e in episodes], rtol=1e-6)
    assert set(srft.rewards(example, episodes, "math")) <= {1.0, -1.0}
    with pytest.raises(srft.InputError, match="answers prompt 1 of 1"):
        srft.rewards(example, srft.rollout(model, ["1+1=", "1+2="], group=1))


def test_the_loss_is_equation_13(model, group):
    """L_SFT + L_RL,demo + L_self, from nothing but log-probabilities, entropies and rewards."""
    loss = srft.loss(model, group)
    demo = srft.token_stats(model, group.example.prompt, group.example.demonstration)
    w_sft = 0.5 * np.exp(-demo.entropies.mean())
    sft = w_sft * -demo.logprobs.mean()
    rl_demo = -group.advantages[-1] * np.exp(demo.logprobs).mean()
    tokens = sum(len(e.tokens) for e in group.episodes)
    own = 0.0
    for episode, reward in zip(group.episodes, group.rewards, strict=True):
        stats = srft.token_stats(model, group.example, episode.tokens)
        w_rl = 0.1 * np.exp(stats.entropies.mean())
        own += (-w_rl if reward > 0 else 1.0) * stats.logprobs.sum() / tokens
    for name, expected in [("sft", sft), ("rl_demo", rl_demo), ("self", own), ("total", sft + rl_demo + own)]:
        assert loss.terms[name] == pytest.approx(expected, rel=1e-5, abs=1e-7), name
    (prompt,) = loss.prompts
    assert prompt["w_sft"] == pytest.approx(w_sft, rel=1e-5)
    np.testing.assert_allclose(prompt["advantages"], group.advantages)
    assert prompt["rewards"] == [*group.rewards, group.demonstration_reward]


def test_the_loss_is_the_programs(model, group, program, tmp_path):
    line = {
        "prompt": group.example.prompt,
        "demonstration": group.example.demonstration,
        "episodes": [{"response": e.response, "reward": r} for e, r in zip(group.episodes, group.rewards)],
    }
    assert not any(e.truncated for e in group.episodes), "the program ends every response itself"
    path = tmp_path / "episodes.jsonl"
    path.write_text(json.dumps(line))
    for method in ["srft", "grpo", "srft-official"]:
        told = program("explain", "--episodes", path, "--method", method, "--device", DEVICE, "--json")
        told, loss = json.loads(told.stdout), srft.loss(model, group, method)
        for name, value in told["terms"].items():
            # The program takes the policy for its own sampler; here the sampler's numbers are known.
            assert loss.terms[name] == pytest.approx(value, rel=1e-4, abs=1e-6), (method, name)
        for name, value in told["grad_norm"].items():
            assert loss.grad_norm[name] == pytest.approx(value, rel=1e-3, abs=1e-6), (method, name)


def test_the_gradient_is_the_one_that_trains(model, group):
    """One AdamW step in numpy, from `gradients`, gives the trainer's weights."""
    loss = srft.loss(model, group, gradients=True)
    norm = np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in loss.gradients.values()))
    assert norm == pytest.approx(loss.grad_norm["total"], rel=1e-5)
    assert srft.loss(model, group).gradients is None
    trainer = srft.Trainer({"run.device": DEVICE, "optimizer.warmup_steps": 0, "optimizer.lr": 1e-3})
    before, report, after = trainer.model, trainer.step(), trainer.model.parameters()
    loss = srft.loss(before, trainer.groups, gradients=True)
    assert loss.terms["total"] == pytest.approx(report["loss"], rel=1e-4)
    assert loss.grad_norm["total"] == pytest.approx(report["grad_norm"], rel=1e-4)
    scale = min(1.0, 1.0 / report["grad_norm"])
    for name, weights in before.parameters().items():
        # The first step's moments, their bias corrected, are the gradient and its square.
        g = loss.gradients[name].astype(np.float64) * scale
        expected = weights - report["lr"] * g / (np.abs(g) + 1e-8)
        sure = np.abs(g) > 1e-7  # below it the sign itself is rounding
        np.testing.assert_allclose(after[name][sure], expected[sure], atol=2e-6, err_msg=name)


def test_other_methods_and_switches(model, group):
    default, token = srft.loss(model, group), srft.loss(model, group, settings={"objective.entropy_over": "token"})
    assert default.terms["sft"] != token.terms["sft"]
    assert srft.loss(model, group, "grpo").terms["sft"] == 0
    twice = srft.loss(model, [group, group])
    assert twice.terms["total"] == pytest.approx(default.terms["total"], rel=1e-5)
    equal = srft.Group(group.example, group.episodes, [1.0] * 6, 1.0)
    assert equal.advantages.tolist() == [0.0] * 7
    assert srft.loss(model, equal, "grpo").grad_norm["total"] == 0


def test_training_is_the_programs(program, tmp_path):
    """The same settings and seed: the same numbers, bit for bit, in the same files."""
    settings = {"run.seed": 7, "train.steps": 3, "rollout.prompts": 4, "eval.examples": 10, "run.device": DEVICE}
    flags = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    program("train", "--out", tmp_path / "program", *flags)
    trainer = srft.Trainer(settings, out=tmp_path / "python")
    trainer.evaluate()
    reports = list(trainer)
    trainer.finish()

    def lines(folder, name):
        rows = [json.loads(line) for line in (tmp_path / folder / name).read_text().splitlines()]
        return [{k: v for k, v in row.items() if not k.endswith("_secs")} for row in rows]

    for name in ["metrics.jsonl", "evaluations.jsonl", "samples.jsonl"]:
        assert lines("python", name) == lines("program", name), name
    assert lines("python", "metrics.jsonl") == [
        {k: v for k, v in report.items() if not k.endswith("_secs")} for report in reports
    ]
    weights = [(tmp_path / f / "best/model.safetensors").read_bytes() for f in ("program", "python")]
    assert weights[0] == weights[1]
    assert "accuracy" in program("report", tmp_path / "python", "--text").stdout


def test_the_built_in_task(model):
    task = srft.task()
    assert task.suites == ["add", "sub", "mul", "mod", "sort", "two", "ord", "rank"]
    examples = task.examples(seed=4, n=10)
    assert examples == task.examples(seed=4, n=10) != task.examples(seed=5, n=10)
    assert [e.suite for e in examples[:5]] == ["add", "sub", "mul", "mod", "sort"]
    held_out = srft.task("add").held_out(5)
    assert len(held_out) == 5 and not {e.prompt for e in held_out} & {e.prompt for e in task.examples(n=500)}
    for example in examples:
        assert example.demonstration.endswith(">" + example.answer)
    trainer = srft.Trainer({"run.seed": 4, "rollout.prompts": 10, "objective.method": "sft", "run.device": DEVICE})
    trainer.step()
    assert [group.example for group in trainer.groups] == examples
