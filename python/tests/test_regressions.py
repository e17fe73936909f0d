"""Faults that users of this trade met elsewhere or here, each named by its report (srft-python-N: the wheel's own)."""

import copy
import gc
import json
import math
import os
import pickle
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
import weakref
from collections import UserDict
from pathlib import Path

import numpy as np
import pytest
import srft
from conftest import DEVICE

SMALL = {"run.device": DEVICE, "train.steps": 4, "rollout.prompts": 3, "rollout.group": 4, "eval.examples": 5}
OWN = [srft.Example(f"{n}=", answer=str(n % 10), demonstration=f">{n % 10}") for n in range(40)]


def untimed(reports):
    return [{k: v for k, v in report.items() if not k.endswith("_secs")} for report in reports]


def script(text, **more):
    """Runs a program of its own: what ends it must not end the tests."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text)], capture_output=True, text=True, timeout=120, **more
    )


@pytest.fixture(scope="module")
def group(model):
    example = srft.task("add").examples(seed=4, n=1)[0]
    return srft.Group(example, srft.rollout(model, [example], group=6, seed=4))


# An interrupt is heard within one of these works' pauses, a fraction of a second; the rest is for a
# machine that does other things besides.
HEARD_SECS = 4

# --- Interrupts: pytorch_1400 and jupyter's stop button (srft-python-5, -6, -32)


def interrupted(work, after):
    """How long work goes on after a SIGINT."""
    sent = []

    def send():
        sent.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(after, send)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        return time.monotonic() - sent[0]
    finally:
        timer.cancel()
        timer.join()


def test_srft_python_6_an_interrupt_is_heard_at_once(model, group):
    prompts = srft.task().examples(0, 3000)
    assert interrupted(lambda: srft.rollout(model, prompts, group=16), 0.3) < HEARD_SECS
    groups = [group] * 400
    assert interrupted(lambda: srft.loss(model, groups), 0.3) < HEARD_SECS
    trainer = srft.Trainer(SMALL | {"eval.examples": 4000})
    assert interrupted(trainer.evaluate, 0.3) < HEARD_SECS
    assert trainer.evaluations == []


def test_srft_python_6_a_long_step_is_dropped_and_done_again():
    large = SMALL | {"rollout.prompts": 256, "rollout.group": 32, "train.steps": 1}
    trainer = srft.Trainer(large)
    assert interrupted(trainer.step, 0.3) < 2 + HEARD_SECS
    assert trainer.steps_done == 0 and trainer.reports == []
    assert untimed(trainer) == untimed(srft.Trainer(large)), "nothing of the dropped one is left"


def test_srft_python_32_a_loop_misses_no_step():
    """An interrupt in an evaluation that is due after a step: the step's report is given by the next call."""
    settings = SMALL | {"eval.every": 1, "eval.examples": 4000, "eval.write_samples": False}
    trainer = srft.Trainer(settings)
    history = []

    def loop():
        for report in trainer:
            history.append(report)

    def interrupt():
        while trainer.steps_done == 0:
            time.sleep(0.01)
        time.sleep(0.3)  # within the evaluation, which takes seconds
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        loop()
    thread.join()
    assert trainer.steps_done == 1 and history == []
    assert len(trainer) == 4, "its report is still to be given"
    history.append(next(trainer))
    assert history[0]["step"] == 1 and {row["step"] for row in trainer.evaluations} == {1}


def test_srft_python_5_an_interrupt_in_the_first_call_is_no_panic():
    done = script("""
        import os, signal, threading, srft
        model = srft.Model.load(device="cpu")
        prompts = srft.task().examples(0, 3000)
        try:
            threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
            srft.rollout(model, prompts, group=16)
        except KeyboardInterrupt:
            print("interrupted")
    """)
    assert done.stdout == "interrupted\n" and "panic" not in done.stderr, done.stderr


# --- Groups and episodes (srft-python-4, -11 to -13, -25, -27 to -30)


@pytest.mark.parametrize("settings", [{}, {"objective.reward_values": "binary"}])
def test_srft_python_4_a_group_made_again_has_the_same_loss(settings):
    score = 0.3 if settings else 0.5
    trainer = srft.Trainer(
        SMALL | settings | {"rollout.prompts": 1}, reward=lambda e, r: 1.0 if r == e.demonstration else score
    )
    before = trainer.model
    trainer.step()
    (used,) = trainer.groups
    again = srft.Group(used.example, used.episodes, used.rewards, used.demonstration_reward)
    expected = srft.loss(before, used, settings=settings)
    for made in [again, pickle.loads(pickle.dumps(used)), copy.copy(used)]:
        assert srft.loss(before, made, settings=settings).terms == expected.terms


def test_srft_python_11_episodes_of_another_vocabulary_are_refused(model, group):
    with pytest.raises(srft.InputError, match="token 23\n  next: ids go from 0 to 22"):
        strange = srft.Episode([23, 2], response="?")
        srft.loss(model, srft.Group(group.example, [strange], [1.0]), "grpo")
    other = srft.Episode([4, 2], response="1", vocabulary=group.episodes[0].vocabulary ^ 1)
    with pytest.raises(srft.InputError, match="another tokenizer"):
        srft.loss(model, srft.Group(group.example, [other], [1.0]), "grpo")


def test_srft_python_12_episodes_of_other_prompts_are_refused(model):
    examples = srft.task().examples(4, 3)
    episodes = srft.rollout(model, examples, group=2)
    with pytest.raises(srft.InputError, match=re.escape(f'answers "{examples[0].prompt}"')):
        srft.Group(examples[1], episodes)
    srft.Group(examples[1], [e for e in episodes if e.prompt == 1])
    with pytest.raises(srft.InputError, match="answers prompt 1 of 3"):
        srft.rewards([examples[2], examples[0], examples[1]], episodes[2:3])


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_srft_python_13_numbers_that_are_none_are_refused(model, group, bad):
    with pytest.raises(srft.InputError, match="number 1 of rewards is"):
        srft.Group(group.example, group.episodes, [1, bad, 1, 1, 1, 1])
    with pytest.raises(srft.InputError, match="the demonstration's reward is"):
        srft.Group(group.example, group.episodes, group.rewards, bad)
    with pytest.raises(srft.InputError, match="of rewards is"):
        srft.advantages([1.0, bad])
    (spoiled,) = srft.rollout(model, [group.example], group=1)
    spoiled.logprobs[0] = bad
    with pytest.raises(srft.InputError, match="log-probability of token 0 is"):
        srft.loss(model, srft.Group(group.example, [spoiled], [1.0]), "grpo")


def test_srft_python_25_rewards_are_read(group):
    with pytest.raises(ValueError, match="read-only"):
        group.rewards[0] = 3


def test_srft_python_27_what_has_no_effect_is_refused(model, group):
    bare = srft.Example(group.example.prompt, group.example.answer)
    with pytest.raises(srft.InputError, match="but no demonstration"):
        srft.Group(bare, group.episodes, group.rewards, 1.0)
    for settings, words in [
        ({"lora.rank": 8}, "no loss depends on lora.rank"),
        ({"train": {"steps": 3}}, "no loss depends on train.steps"),
        ({"objective.method": "grpo"}, "the method is given as srft"),
    ]:
        with pytest.raises(srft.InputError, match=words):
            srft.loss(model, group, "srft", settings)
    named = srft.loss(model, group, settings={"objective.method": "grpo"})
    assert named.terms == srft.loss(model, group, "grpo").terms


@pytest.mark.parametrize("count", [2**62, 2**40, 0])
def test_srft_python_28_absurd_groups_are_errors(model, count):
    with pytest.raises((srft.InputError, srft.MachineError)):
        srft.rollout(model, ["1+1="], group=count)


def test_srft_python_30_absent_terms_are_zero(model, group):
    terms = srft.loss(model, group, "sft").terms
    assert terms["entropy"] == 0 and terms["kl"] == 0
    equal = srft.Group(group.example, group.episodes, [1.0] * 6, 1.0)
    assert srft.loss(model, equal, "dapo").terms["total"] == 0


def test_verifiers_rollouts_from_elsewhere(model, group):
    """Rollouts from a file or another program (srft-python-23): tokens and text are enough."""
    ours = group.episodes
    theirs = [srft.Episode(e.tokens.tolist(), response=e.response, truncated=e.truncated) for e in ours]
    assert theirs[0].logprobs.size == 0 and theirs[0].tokens.dtype == np.uint32
    np.testing.assert_array_equal(srft.rewards(group.example, theirs), group.rewards)
    again = srft.loss(model, srft.Group(group.example, theirs), "grpo")
    expected = srft.loss(model, group, "grpo")
    assert again.terms["self"] == pytest.approx(expected.terms["self"], abs=1e-5)
    assert again.grad_norm["self"] == pytest.approx(expected.grad_norm["self"], rel=1e-3)
    with pytest.raises(srft.InputError, match="3 logprobs for 2 tokens"):
        srft.Episode([9, 2], [0.0, 0.0, 0.0], response="6")
    with pytest.raises(TypeError, match="expected a list of token ids"):
        srft.Episode([0.5], response="6")


# --- Examples (srft-python-8, -9, -23, -31)


def test_srft_python_9_extra_stays_as_it_is():
    shape = {"grid": ((1, 2), (3, 4)), 7: "an int key", "nan": math.nan, "count": np.int64(3), "when": object()}
    seen = []

    def reward(example, response):
        seen.append(example.extra)
        return 0.5

    examples = [srft.Example(e.prompt, e.answer, e.demonstration, extra=shape | {"at": i}) for i, e in enumerate(OWN)]
    assert examples[3].extra["grid"] == ((1, 2), (3, 4)) and examples[3].extra is examples[3].extra
    trainer = srft.Trainer(SMALL, examples=examples, suites={"held": examples[:5]}, reward=reward)
    trainer.step()
    trainer.evaluate()
    assert seen and all(s["when"] is shape["when"] and s["grid"] is shape["grid"] for s in seen)
    assert all(group.example.extra["at"] == int(group.example.prompt[:-1]) for group in trainer.groups)
    assert srft.rewards(examples[3], [srft.Episode([2], response="")], lambda e, r: e.extra[7] == "an int key")[0] == 1


def test_srft_python_9_what_a_file_needs_is_named(tmp_path):
    examples = [srft.Example("1=", "1", ">1", extra={"size": {"of": 1j}})] * 20
    settings = SMALL | {"reward.command": "cat", "data.verifier": "command"}
    with pytest.raises(srft.InputError, match=r"train\[0\].extra.size.of is a <class 'complex'>"):
        srft.Trainer(settings, examples=examples)


def test_srft_python_8_what_holds_itself_ends_in_an_exception():
    done = script("""
        import srft
        cycle = {}; cycle["self"] = cycle
        deep = {}
        for _ in range(200_000):
            deep = {"d": deep}
        both = [cycle, deep, {"a": cycle, "b": [cycle, cycle]}]
        for settings in both:
            for work in [lambda: srft.Trainer({"train": settings}), lambda: srft.Trainer({"train.steps": settings})]:
                try:
                    work()
                except srft.InputError as e:
                    print(e.what)
            e = srft.Example("1+1=", "2", extra=settings)
            assert e.extra is settings
            try:
                srft.Trainer({"reward.command": "cat", "data.verifier": "command"}, examples=[e] * 20)
            except srft.InputError as e:
                print(e.what)
    """)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 9 and all("holds itself" in line or "levels deep" in line for line in lines), lines


@pytest.fixture
def chat_folder(model, tmp_path):
    """The tiny model with a template of its own tokens: `^` begins, `$` ends a turn."""
    model.save(tmp_path / "chat")
    content = "{{ m.content if m.content is string else m.content[0].text }}"
    template = f"{{{{ '^' }}}}{{% for m in messages %}}{content}" + "{% if m.role == 'assistant' %}$;{% endif %}{% endfor %}"
    (tmp_path / "chat" / "chat_template.jinja").write_text(template)
    return tmp_path / "chat"


def test_srft_python_10_chat_templates_are_within_reach(chat_folder):
    model = srft.Model.load(chat_folder, device=DEVICE)
    example = model.tokenizer.chat(
        [{"role": "user", "content": "1+1="}, {"role": "assistant", "content": "2"}], "2", extra={"k": (1,)}
    )
    assert (example.prompt, example.answer, example.templated) == ("^1+1=", "2", True) and example.extra == {"k": (1,)}
    again = srft.Example(
        example.prompt, example.answer, example.demonstration,
        extra=example.extra, templated=example.templated, learned=example.learned,
    )
    assert again == example == pickle.loads(pickle.dumps(example)) and "templated=True" in repr(example)
    for one in [example, again]:
        assert srft.token_stats(model, one).pieces == ["2", "$"]
    assert list(model.tokenizer.encode("^1+1=", special=False)) == list(model.tokenizer.encode("1+1="))
    asked = model.tokenizer.chat([{"role": "user", "content": "1+1="}])
    assert asked.demonstration is None
    episodes = srft.rollout(model, asked, group=2)
    group = srft.Group(example, episodes, [1.0, -1.0], 1.0)
    assert math.isfinite(srft.loss(model, group).terms["total"])
    trainer = srft.Trainer(
        SMALL | {"model.path": chat_folder, "train.steps": 1, "rollout.max_new_tokens": 20},
        examples=[example] * 20, reward=lambda e, r: e.templated,
    )
    trainer.step()
    assert trainer.groups[0].example.prompt == "^1+1="
    with pytest.raises(srft.InputError, match="no chat template"):
        srft.Tokenizer.load().chat([{"role": "user", "content": "1"}])
    for wrong in [[], [{"role": "user"}], {"role": "user", "content": "1"}]:
        with pytest.raises(srft.InputError, match="messages"):
            model.tokenizer.chat(wrong)


def said(role, content, **more):
    return {"role": role, "content": content} | more


# One conversation a shape: a turn, two turns, a system prompt in parts, tools between.
CALL = {"type": "function", "function": {"name": "sum", "arguments": {"a": 1}}}
CHATS = [
    {"messages": [said("user", "1+1="), said("assistant", "2")]},
    {"messages": [said("user", "1+1="), said("assistant", "2"), said("user", "2+2="), said("assistant", "4")]},
    {"messages": [said("system", [{"type": "text", "text": "1"}]), said("user", "+1="), said("assistant", "2")]},
    {"prompt": [said("user", "1+1=")], "completion": [said("assistant", "2")]},
    {
        "prompt": [said("user", "1+2=")],
        "completion": [said("assistant", "1+", tool_calls=[CALL]), said("tool", "2"), said("assistant", "3")],
        "tools": [CALL],
        "chat_template_kwargs": {"enable_thinking": True},
    },
]


def chat_example(row, **more):
    """A row of a file as an example."""
    names = {"completion": "demonstration"}
    return srft.Example(**{names.get(name, name): value for name, value in row.items()}, **more)


def file_of(rows, path):
    path.write_text("\n".join(json.dumps(row) for row in rows))
    return str(path)


@pytest.mark.parametrize("settings", [{}, {"data.turns": "last"}, {"data.too_long": "drop", "data.max_tokens": 12}])
def test_trl_conversations_are_read_as_rows_of_a_file_are(chat_folder, tmp_path, settings):
    rows = [row | {"answer": "2"} for row in CHATS] * 3
    settings = SMALL | {"model.path": chat_folder, "objective.method": "srft", "rollout.max_new_tokens": 8} | settings
    of_file = srft.Trainer(settings | {
        "data.train": file_of(rows, tmp_path / "train.jsonl"), "data.verifier": "exact",
    })
    given = srft.Trainer(settings, examples=[chat_example(row) for row in rows], reward="exact")
    for _ in range(2):
        ours, theirs = given.step(), of_file.step()
        assert untimed([ours]) == untimed([theirs])
        for one, other in zip(given.groups, of_file.groups, strict=True):
            assert (one.example.prompt, one.example.demonstration) == (other.example.prompt, other.example.demonstration)
            assert one.example.learned == other.example.learned and one.example.templated
    told = [note.replace("train.jsonl", "").split(": ", 1)[1].split(" (")[0] for note in of_file.notes]
    assert [note.split(": ", 1)[1].split(" (")[0] for note in given.notes] == told
    assert bool(told) == ("data.too_long" in settings)


def test_trl_conversations_wait_for_their_model(chat_folder, model):
    loaded = srft.Model.load(chat_folder, device=DEVICE)
    for row in CHATS:
        example = chat_example(row, answer="2", extra={"k": (1,)})
        assert example == pickle.loads(pickle.dumps(example)) == copy.deepcopy(example)
        assert example == eval(repr(example), {"Example": srft.Example}) and len({example, copy.copy(example)}) == 1
        if "prompt" in row:
            assert (example.prompt, example.demonstration) == (row["prompt"], row["completion"])
        else:
            assert example.prompt + example.demonstration == row["messages"]
        episodes = srft.rollout(loaded, example, group=2)
        assert episodes[0].asked.startswith("^1+")
        asked = []
        srft.rewards(example, episodes, lambda e, r: bool(asked.append(e)))
        assert {(e.prompt, e.answer, e.extra["k"]) for e in asked} == {(episodes[0].asked, "2", (1,))}
        group = srft.Group(example, episodes, [1.0, -1.0], reward="exact")
        assert group.demonstration_reward == (1.0 if example.demonstration[-1]["content"] == "2" else -1.0)
        assert math.isfinite(srft.loss(loaded, group).terms["total"])
        assert "".join(srft.token_stats(loaded, example).pieces).endswith(example.demonstration[-1]["content"] + "$")
        for work in [srft.rollout, srft.token_stats, lambda m, e: srft.loss(m, srft.Group(e, [], [], 1.0), "sft")]:
            with pytest.raises(srft.InputError, match="no chat template"):
                work(model, example)
        with pytest.raises(srft.InputError, match="on .* answers"):
            srft.loss(loaded, srft.Group(example, [srft.Episode([5, 2], response="2", asked="3+3=")], [1.0], 1.0))
    with pytest.raises(srft.InputError, match="given:train: example 1: the row has messages"):
        srft.Trainer(SMALL, examples=[OWN[0], chat_example(CHATS[0], answer="2")] * 10)
    single = chat_example(CHATS[0], answer="2")
    assert loaded.tokenizer.chat(CHATS[0]["messages"]).demonstration == "2$;"
    assert single.prompt == [said("user", "1+1=")] and not single.templated and single.learned == []


@pytest.mark.parametrize(
    "row",
    [
        {"messages": []},
        {"messages": "hi"},
        {"messages": said("user", "1")},
        {"messages": ["hi"]},
        {"messages": [{"role": "user"}]},
        {"messages": [said("asistant", "1")]},
        {"messages": [said("assistant", "1")]},
        {"messages": [said("user", " ")]},
        {"messages": [said("user", [{"type": "image", "url": "x"}])]},
        {"messages": [said("user", "1")], "prompt": "1"},
        {"messages": [said("user", "1")], "completion": "1"},
        {"messages": [said("user", "1")], "tools": {}},
        {"messages": [said("user", "1")], "chat_template_kwargs": [1]},
        {"prompt": [said("user", "1"), said("assistant", "1")]},
        {"prompt": [said("user", "1")], "completion": "1"},
        {"prompt": [said("user", "1")], "completion": [said("user", "1")]},
        {"prompt": "1", "completion": [said("assistant", "1")]},
        {"prompt": "1", "tools": [CALL]},
    ],
    ids=str,
)
def test_trl_conversations_are_refused_in_the_words_of_a_file(chat_folder, tmp_path, row):
    with pytest.raises(srft.InputError) as raised:
        chat_example(row)
    settings = SMALL | {"model.path": chat_folder, "objective.method": "grpo"}
    with pytest.raises(srft.InputError) as of_file:
        srft.Trainer(settings | {"data.train": file_of([row | {"answer": "1"}] * 20, tmp_path / "rows.jsonl")})
    assert raised.value.what.replace("`demonstration`", "`completion`") in of_file.value.what
    assert raised.value.next


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "needs a prompt, or messages"),
        ({"prompt": 3}, "prompt: got <class 'int'>, expected text, or a list of messages"),
        ({"prompt": "1", "demonstration": 3}, "demonstration: got <class 'int'>"),
    ],
)
def test_examples_of_nothing_are_refused(given, words):
    with pytest.raises(TypeError, match=words):
        srft.Example(**given)
    with pytest.raises(srft.InputError, match="`learned` are of text"):
        srft.Example(messages=[said("user", "1")], learned=[(0, 1)])


def test_peft_adapters_whose_base_was_moved(tmp_path):
    srft.Model.load(device=DEVICE).save(tmp_path / "base")
    trainer = srft.Trainer(SMALL | {"model.path": tmp_path / "base", "lora.rank": 2, "train.steps": 1})
    trainer.step()
    trainer.save(tmp_path / "adapter")
    expected = trainer.model.logits("1+1=", "2")
    (tmp_path / "base").rename(tmp_path / "moved")
    adapter, moved = tmp_path / "adapter", tmp_path / "moved"
    for work in [srft.Model.load, srft.Tokenizer.load, lambda path: srft.Trainer({"model.path": path})]:
        with pytest.raises(srft.InputError, match="base model .* is not here") as raised:
            work(adapter)
        assert "base=DIR" in raised.value.next and "model.base" in raised.value.next
        assert "--" not in str(raised.value)
    for base in [moved, str(moved), "tiny"]:
        model = srft.Model.load(adapter, DEVICE, base=base)
        np.testing.assert_array_equal(model.logits("1+1=", "2"), expected)
        assert len(srft.Tokenizer.load(adapter, base=base)) == 23
    with pytest.raises(srft.InputError, match="the model is not an adapter") as raised:
        srft.Model.load(moved, base=moved)
    assert "leave out base=" in raised.value.next and "--" not in str(raised.value)
    with pytest.raises(srft.InputError, match="nowhere"):
        srft.Model.load(adapter, base=tmp_path / "nowhere")


def test_srft_python_23_records_are_copied_kept_and_hashed(model, group):
    example = srft.Example("p", "a", "d", suite="s", extra={"t": (1, 2)})
    stats = srft.token_stats(model, group.example)
    for made in [pickle.loads(pickle.dumps(example)), copy.copy(example), copy.deepcopy(example)]:
        assert made == example and hash(made) == hash(example) and made.extra == {"t": (1, 2)}
    assert len({example, copy.copy(example), srft.Example("q")}) == 2
    for made in [pickle.loads(pickle.dumps(group)), copy.deepcopy(group)]:
        assert made.example == group.example
        for one, other in zip(made.episodes, group.episodes, strict=True):
            assert (one.response, one.asked, one.vocabulary) == (other.response, other.asked, other.vocabulary)
            np.testing.assert_array_equal(one.logprobs, other.logprobs)
    made = pickle.loads(pickle.dumps(stats))
    assert made.pieces == stats.pieces and (made.entropies == stats.entropies).all()
    for thing in [example, group, group.episodes[0], stats, model, model.tokenizer]:
        assert weakref.ref(thing)() is thing


def test_srft_python_23_cycles_through_extra_are_collected():
    class Mark:
        pass

    extra = {"mark": Mark()}
    extra["example"] = srft.Example("p", extra=extra)
    gone = weakref.ref(extra["mark"])
    del extra
    gc.collect()
    assert gone() is None


def test_srft_python_24_an_example_is_measured_by_its_demonstration(model):
    example = srft.task("add").examples()[0]
    alone, named = srft.token_stats(model, example), srft.token_stats(model, example, example.demonstration)
    assert alone.pieces == named.pieces and "".join(alone.pieces) == example.demonstration + "$"
    with pytest.raises(srft.InputError, match="no demonstration"):
        srft.token_stats(model, srft.Example("1+1="))


def test_srft_python_33_the_prompt_is_named(model):
    with pytest.raises(srft.InputError) as raised:
        srft.rollout(model, ["1+1=", "x"])
    assert raised.value.place == "prompt 1"
    with pytest.raises(srft.InputError) as raised:
        srft.rollout(model, ["1+1=", "2=", "1" * 5000])
    assert raised.value.place == "prompt 2"


# --- Settings and arguments (srft-python-20 to -22, -26)


def test_srft_python_20_settings_as_they_come(tmp_path):
    given = UserDict({
        "train.steps": np.int64(3),
        "optimizer": {"lr": np.float32(0.5), "beta2": None},
        "model.path": None,
        "objective.rl_demo": np.bool_(False),
        "run.device": "cpu",
    })
    config = srft.Trainer(given).config
    assert (config["train.steps"], config["optimizer.lr"], config["objective.rl_demo"]) == (3, 0.5, False)
    assert config["model.path"] == "tiny" and config["optimizer.beta2"] == srft.Trainer().config["optimizer.beta2"]
    srft.Model.load(device="cpu").save(tmp_path / "model")
    assert srft.Trainer({"model.path": tmp_path / "model", "run.device": "cpu"}).config["model.path"] == str(tmp_path / "model")
    suites = UserDict({"held": OWN[:5]})
    scores = srft.Trainer(SMALL, examples=OWN, suites=suites, reward=lambda e, r: 0.0).evaluate()
    assert [s["suite"] for s in scores] == ["held"]


def test_srft_python_21_one_thing_in_place_of_many(model, tmp_path):
    example = srft.Example("1+1=", "2", ">2")
    assert [e.prompt for e in srft.rollout(model, example, group=2)] == [0, 0] == [
        e.prompt for e in srft.rollout(model, "1+1=", group=2)
    ]
    model.save(tmp_path / "model")
    assert len(srft.Tokenizer.load(tmp_path / "model")) == 23
    right = srft.Episode([5, 2], response="2")
    bare = srft.Example("1+1=", "2", "2")
    assert srft.Group(bare, [right]).rewards.tolist() == [-1]
    for reward in ["exact", "numeric", lambda e, r: e.answer == r]:
        made = srft.Group(bare, [right], reward=reward)
        assert (made.rewards.tolist(), made.demonstration_reward) == ([1], 1)
    own = [srft.Example(f"{n}=", str(n), str(n)) for n in range(40)]
    trainer = srft.Trainer(SMALL, examples=own, reward="numeric")
    assert trainer.step()["reward_demo"] == 1 and trainer.config["data.verifier"] == "numeric"
    with pytest.raises(srft.InputError, match="no verifier `numbers`"):
        srft.Trainer(SMALL, examples=own, reward="numbers")
    with pytest.raises(srft.InputError, match="but no examples"):
        srft.Trainer(SMALL, reward="numeric")


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda m, g: srft.token_stats(m, "1+1=", np.array([0.5, 2.0])), "tokens: got float64, expected a list of token ids"),
        (lambda m, g: srft.token_stats(m, 3), "a prompt: got <class 'int'>, expected text, or an Example"),
        (lambda m, g: srft.rollout(m, [3]), "a prompt: got <class 'int'>, expected text, or an Example"),
        (lambda m, g: srft.rollout(m, 3), "prompts: got <class 'int'>"),
        (lambda m, g: srft.loss(m, [g, 3]), "groups: got <class 'list'>, expected a Group, or a list of them"),
        (lambda m, g: srft.rewards({"prompt": "1"}, []), "examples: got <class 'dict'>"),
        (lambda m, g: srft.weights([1j]), "entropy: got complex128, expected real numbers"),
        (lambda m, g: srft.advantages(["a"]), "rewards: got <U1, expected real numbers"),
    ],
)
def test_srft_python_22_types_are_told_in_words(model, group, work, words):
    with pytest.raises(TypeError) as raised:
        work(model, group)
    assert words in str(raised.value) and "variant" not in str(raised.value) and "\n" not in str(raised.value)


def test_srft_python_26_weights_of_any_shape():
    w_sft, w_rl = srft.weights(0.5)
    assert (w_sft.shape, float(w_sft), float(w_rl)) == ((), 0.5 * math.exp(-0.5), 0.1 * math.exp(0.5))
    entropy = np.array([[0.0, 1.0, 2.0]] * 2)
    given = entropy.copy()
    np.testing.assert_array_equal(srft.weights(entropy, rl_scale=0.1)[1], 0.1 * np.exp(entropy))
    np.testing.assert_array_equal(entropy, given)
    with pytest.raises(srft.InputError, match="nan"):
        srft.weights([math.nan])


# --- Trainers (srft-python-7, -14, -15, -16)


def test_srft_python_7_a_run_is_where_it_was(tmp_path, monkeypatch):
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    trainer = srft.Trainer(SMALL, out="run")
    trainer.step()
    monkeypatch.chdir(tmp_path / "other")
    list(trainer)
    assert trainer.out == tmp_path / "run" and list((tmp_path / "other").iterdir()) == []
    trainer.save()
    del trainer
    assert [r["step"] for r in srft.Trainer.resume(tmp_path / "run").reports] == [1, 2, 3, 4]


def test_srft_python_7_a_report_that_cannot_be_written_is_kept(tmp_path):
    expected = untimed(srft.Trainer(SMALL))
    trainer = srft.Trainer(SMALL, out=tmp_path / "run")
    reports = [trainer.step()]
    metrics = tmp_path / "run/metrics.jsonl"
    metrics.rename(tmp_path / "kept")
    metrics.mkdir()  # a full disk, as far as the run can tell
    with pytest.raises(srft.Error, match="metrics.jsonl"):
        trainer.step()
    assert trainer.steps_done == 2 and len(trainer.reports) == 2
    metrics.rmdir()
    (tmp_path / "kept").rename(metrics)
    reports += list(trainer)
    assert untimed(reports) == expected == untimed(trainer.reports)
    trainer.save()
    del trainer
    assert untimed(srft.Trainer.resume(tmp_path / "run").reports) == expected


def test_srft_python_14_what_is_cut_is_told(model):
    assert "max_new_tokens" in srft.Trainer.__doc__ and "44" in srft.rollout.__doc__
    with pytest.warns(UserWarning, match="all 3 responses were cut at max_new_tokens = 2"):
        srft.rollout(model, "59+63=", group=3, max_new_tokens=2)
    trainer = srft.Trainer(SMALL | {"rollout.max_new_tokens": 1})
    with pytest.warns(UserWarning, match="all 12 responses were cut at max_new_tokens = 1"):
        trainer.step()


def test_srft_python_15_a_trainer_can_be_looked_at_while_it_steps():
    seen = []

    def reward(example, response):
        if not seen:
            seen.append((
                repr(trainer), trainer.out.is_dir(), trainer.config["train.steps"], trainer.steps_done,
                len(trainer.reports), len(trainer), bool(trainer), len(trainer.groups), len(trainer.evaluations),
            ))
        return 0.5

    trainer = srft.Trainer(SMALL, reward=reward)
    trainer.step()
    assert seen == [("Trainer(srft, 0 of 4 steps)", True, 4, 0, 0, 4, True, 0, 0)]


def test_srft_python_16_a_forked_child_is_told(tmp_path):
    done = script("""
        import os, warnings, srft
        warnings.simplefilter("ignore")
        trainer = srft.Trainer({"train.steps": 2, "run.device": "cpu", "rollout.prompts": 2})
        trainer.step()
        child = os.fork()
        if child == 0:
            try:
                trainer.step()
            except srft.MachineError as e:
                print(e, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        trainer.step()
    """)
    assert done.returncode == 0 and "forked" in done.stdout and "spawn" in done.stdout, done


def test_srft_python_17_none_is_no_score():
    """A function that knows nothing of demonstrations leaves them out; one without a return is told so."""
    shown = {example.demonstration for example in OWN}
    knows = srft.Trainer(SMALL, examples=OWN, reward=lambda e, r: None if r in shown else 0.5)
    report = knows.step()
    assert report["unscored_demos"] == 3 and report["reward_demo"] is None
    assert all(group.demonstration_reward is None for group in knows.groups)

    def forgets(example, response):
        example.answer == response

    trainer = srft.Trainer(SMALL, examples=OWN, reward=forgets)
    with pytest.raises(srft.MachineError) as raised:
        trainer.step()
    assert "the reward function" in raised.value.what and "it gave None, which is no score" in raised.value.what
    assert f'srft.Trainer.resume("{trainer.out}")' in raised.value.next and "--" not in str(raised.value)
    assert trainer.steps_done == 0 and "None leaves" in srft.Trainer.__doc__


@pytest.mark.parametrize(
    "others",
    [OWN[:-1], OWN[::-1], OWN[1:] + OWN[:1], [*OWN[:-1], srft.Example("5=", answer="6", demonstration=">6")]],
    ids=["fewer", "reversed", "turned", "another"],
)
def test_srft_python_31_other_examples_do_not_go_on(tmp_path, others):
    def right(example, response):
        return 0.5

    trainer = srft.Trainer(SMALL, out=tmp_path / "run", examples=OWN, suites={"held": OWN[:5]}, reward=right)
    trainer.step()
    trainer.save()
    del trainer
    for given in [{"examples": others, "suites": {"held": OWN[:5]}}, {"examples": OWN, "suites": {"held": others}}]:
        with pytest.raises(srft.InputError, match="changed since the run began: data.*given:") as raised:
            srft.Trainer.resume(tmp_path / "run", **given, reward=right)
        assert "accept_changes=True" in raised.value.next and "--" not in str(raised.value)
    same = srft.Trainer.resume(tmp_path / "run", examples=OWN, suites={"held": OWN[:5]}, reward=right)
    assert same.steps_done == 1
    del same
    changed = srft.Trainer.resume(
        tmp_path / "run", examples=others, suites={"held": OWN[:5]}, reward=right, accept_changes=True
    )
    assert changed.steps_done == 1 and any("given:train" in note for note in changed.notes)


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (lambda: srft.Trainer(SMALL, suites={"held": OWN}), "examples="),
        (lambda: srft.Model.load(device="gpu of dreams"), "srft.devices() lists them"),
        (lambda: srft.Trainer({"optimizer.lr": -1.0}), '{"optimizer.lr": '),
    ],
)
def test_srft_python_18_errors_speak_python(work, words):
    with pytest.raises(srft.InputError) as raised:
        work()
    assert words in str(raised.value) and not re.search(r"(^|\s)--\w", str(raised.value)), raised.value


def test_srft_python_19_a_cell_runs_twice(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    for _ in range(2):
        trainer = srft.Trainer(SMALL | {"train.steps": 1, "checkpoint.every": 1}, out=tmp_path / "run", overwrite=True)
        trainer.step()
        trainer.finish()
        assert len(trainer.reports) == 1 and (tmp_path / "run" / "best").is_dir()
        assert (tmp_path / "run" / "notes.txt").read_text() == "mine"
        with pytest.raises(srft.InputError, match="overwrite=True"):
            srft.Trainer(SMALL, out=tmp_path / "run")
        del trainer


def test_srft_python_1_saves_take_nothing_away(model, tmp_path):
    results, old = tmp_path / "results", tmp_path / "model.old"
    (results / "sub").mkdir(parents=True)
    (results / "notes.txt").write_text("my notes")
    old.mkdir()
    (old / "precious.txt").write_text("my backup")
    with pytest.raises(srft.InputError, match="overwrite=True"):
        model.save(results)
    model.save(results, overwrite=True)
    model.save(tmp_path / "model")
    model.save(tmp_path / "model")
    assert (results / "notes.txt").read_text() == "my notes" and (results / "sub").is_dir()
    assert (old / "precious.txt").read_text() == "my backup"
    trainer = srft.Trainer(SMALL | {"train.steps": 1}, out=tmp_path / "run")
    trainer.step()
    for overwrite in [False, True]:
        with pytest.raises(srft.InputError):
            trainer.save(trainer.out, overwrite=overwrite)
    assert trainer.finish()["steps"] == 1
    (tmp_path / "file").write_text("a file")
    with pytest.raises(srft.InputError, match="not a folder"):
        model.save(tmp_path / "file", overwrite=True)
    assert (tmp_path / "file").read_text() == "a file"


def test_evaluations_are_rows():
    trainer = srft.Trainer(SMALL | {"eval.every": 2})
    first = trainer.evaluate()
    list(trainer)
    rows = trainer.evaluations
    assert rows[: len(first)] == [{"step": 0} | score for score in first]
    assert {row["step"] for row in rows} == {0, 2} and len(rows) == 2 * len(first)
