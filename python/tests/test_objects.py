"""Round trips, memory, errors, stubs, docstrings."""

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import srft
from conftest import DEVICE


def test_text_goes_there_and_back(model):
    tokenizer = srft.Tokenizer.load()
    ids = tokenizer.encode("59+63=")
    assert ids.dtype == np.uint32 and tokenizer.decode(ids) == "59+63="
    assert tokenizer.pieces(ids) == list("^59+63=")
    np.testing.assert_array_equal(tokenizer.encode("59+63=", continuation=True), ids[1:])
    assert len(tokenizer) == 23 == model.config["vocab_size"]
    with pytest.raises(srft.InputError, match="no token for 'x', character 2"):
        tokenizer.encode("1x")


def test_a_model_goes_to_disk_and_back(model, tmp_path):
    model.save(tmp_path / "model")
    again = srft.Model.load(tmp_path / "model", device=DEVICE)
    before, after = model.parameters(), again.parameters()
    assert before.keys() == after.keys() and sum(p.size for p in before.values()) == model.size
    for name, weights in before.items():
        np.testing.assert_array_equal(weights, after[name], err_msg=name)
    model.save(tmp_path / "half", dtype="bf16")
    halved = srft.Model.load(tmp_path / "half", device=DEVICE).parameters()
    for name, weights in before.items():
        np.testing.assert_allclose(halved[name], weights, rtol=2**-8, err_msg=name)
    with pytest.raises(srft.InputError, match="no dtype `f64`\n  next: one of: f32, f16, bf16"):
        model.save(tmp_path / "wide", dtype="f64")


def test_arrays_are_not_copied(model):
    episode = srft.rollout(model, ["59+63="], group=1)[0]
    for name in ["tokens", "logprobs", "entropies"]:
        first, second = getattr(episode, name), getattr(episode, name)
        assert np.shares_memory(first, second), name
    episode.logprobs[0] = -7
    assert episode.logprobs[0] == -7, "what loss reads"
    logits = model.logits("59+63=", "122")
    assert logits.base is not None and logits.flags.writeable, "the core's own memory"


def test_what_is_written_into_an_episode_counts(model):
    """The ratio π/π_old of GRPO reads the sampler's log-probabilities."""
    example = srft.task("add").examples(seed=4, n=1)[0]
    group = srft.Group(example, srft.rollout(model, [example], group=6, seed=4))
    before = srft.loss(model, group, "grpo").terms["self"]
    group.episodes[0].logprobs[:] -= 0.1
    assert srft.loss(model, group, "grpo").terms["self"] != before


def test_examples_hold_what_they_are_given():
    example = srft.Example("p", "a", "d", suite="s", extra={"n": [1, 2.5, "x", None]})
    fields = (example.prompt, example.answer, example.demonstration, example.suite, example.extra)
    assert fields == ("p", "a", "d", "s", {"n": [1, 2.5, "x", None]})
    assert example == srft.Example("p", "a", "d", suite="s", extra={"n": [1, 2.5, "x", None]})
    assert example != srft.Example("p", "a")
    assert repr(srft.Example("p", "a")) == 'Example("p", answer="a", demonstration=None)'


@pytest.mark.parametrize(
    ("work", "kind", "words"),
    [
        (lambda: srft.Model.load("/no/such/folder"), srft.InputError, "/no/such/folder/config.json: No such file"),
        (lambda: srft.Model.load(device="gpu of dreams"), srft.InputError, "no adapter has the index or name"),
        (lambda: srft.Model.load(device="metal"), srft.MachineError, "no metal adapter on this machine"),
        (lambda: srft.Trainer({"train.stps": 3}), srft.InputError, "did you mean `train.steps`?"),
        (lambda: srft.Trainer({"train": {"steps": "many"}}), srft.InputError, "is of type string, expected integer"),
        (lambda: srft.Trainer({"optimizer.lr": -1.0}), srft.InputError, "optimizer.lr must be positive"),
        (lambda: srft.Trainer({"train": 3}), srft.InputError, "`train` is a section, not a value"),
        (lambda: srft.Trainer(3), srft.InputError, "give a dict"),
        (lambda: srft.Trainer("no.toml"), srft.InputError, "no.toml: No such file"),
        (lambda: srft.task("ad"), srft.InputError, "did you mean `add`?"),
        (lambda: srft.weights([0.0], sft_sign="times"), srft.InputError, "minus or plus"),
        (lambda: srft.Tokenizer.load("/no"), srft.InputError, "No such file"),
    ],
)
def test_errors_say_what_where_and_what_next(work, kind, words):
    with pytest.raises(kind) as raised:
        work()
    error = raised.value
    assert words in str(error) and isinstance(error, srft.Error)
    assert error.what in str(error) and (error.next is None or f"next: {error.next}" in str(error))
    assert isinstance(error, {srft.InputError: ValueError, srft.MachineError: RuntimeError}[kind])


def test_the_words_are_the_programs(program):
    told = program("train", "--set", "train.stps=3", expect=2).stderr
    with pytest.raises(srft.InputError) as raised:
        srft.Trainer({"train.stps": 3})
    assert raised.value.what in told and raised.value.next in told


def test_bad_groups_are_refused(model):
    example = srft.task("add").examples()[0]
    episodes = srft.rollout(model, [example], group=2)
    with pytest.raises(srft.InputError, match="3 rewards for 2 episodes"):
        srft.Group(example, episodes, [1, 1, 1])
    with pytest.raises(srft.InputError, match="token 99"):
        srft.token_stats(model, "1+1=", [99])
    with pytest.raises(srft.InputError, match="no tokens"):
        srft.token_stats(model, "1+1=", [])
    with pytest.raises(srft.InputError, match="not a known method"):
        srft.loss(model, srft.Group(example, episodes), "ppo")
    with pytest.raises(srft.InputError, match="context|positions|tokens"):
        srft.token_stats(model, "1" * 5000)
    with pytest.raises(srft.InputError, match="max_new_tokens is 0"):
        srft.rollout(model, [example], max_new_tokens=0)
    with pytest.raises(srft.InputError, match="temperature -1"):
        srft.rollout(model, [example], temperature=-1)


def test_everything_public_is_documented():
    for name in dir(srft):
        thing = getattr(srft, name)
        if name.startswith("_"):
            continue
        assert inspect.getdoc(thing), name
        if inspect.isclass(thing) and not issubclass(thing, Exception):
            for member in vars(thing):
                if not member.startswith("_"):
                    assert inspect.getdoc(getattr(thing, member)), f"{name}.{member}"
    assert "score in [0, 1]" in srft.Trainer.__doc__ and "Eq. 8" in srft.weights.__doc__


def test_the_stubs_are_the_module(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "srft", "--ignore-missing-stub"], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (Path(srft.__file__).parent / "py.typed").exists()


def resident_mib():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def test_a_thousand_calls_leak_nothing(model):
    example = srft.task("add").examples()[0]
    group = srft.Group(example, srft.rollout(model, [example], group=4))

    def call():
        srft.token_stats(model, example.prompt, example.demonstration)
        model.logits(example.prompt, example.demonstration)
        srft.rewards(example, srft.rollout(model, [example], group=2, max_new_tokens=4), lambda e, r: 0.5)
        srft.weights(srft.advantages(group.rewards))
        group.advantages, group.episodes, group.rewards, example.extra, model.config, model.tokenizer
        with pytest.raises(srft.Error):
            srft.task("nothing")

    def calls(count):
        for _ in range(count):
            call()
        return resident_mib()

    calls(300)  # allocators and caches settle
    before = calls(100)
    after = calls(1000)
    # A leak of one response's logits alone (20 × 23 floats) would be 1.8 MiB.
    assert after - before < 1.5, f"{before:.1f} MiB became {after:.1f}"
    for _ in range(20):
        srft.loss(model, group, gradients=True)
        model.parameters()
    before = resident_mib()
    for _ in range(100):
        srft.loss(model, group, gradients=True)
        model.parameters()
    # A leak of one gradient (2.2 MiB) a call would be 220.
    assert resident_mib() - before < 20
