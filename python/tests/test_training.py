"""The trainer: iteration, interrupts, reward functions, several at once, resuming, own examples."""

import gc
import json
import signal
import sys
import threading
import types
import weakref

import pytest
import srft
from conftest import DEVICE

SMALL = {
    "run.device": DEVICE,
    "train.steps": 4,
    "rollout.prompts": 3,
    "rollout.group": 4,
    "eval.examples": 5,
}


def untimed(reports):
    return [{k: v for k, v in report.items() if not k.endswith("_secs")} for report in reports]


@pytest.fixture(scope="module")
def expected():
    """The reports of the small run, undisturbed."""
    return untimed(srft.Trainer(SMALL))


def test_iteration_has_a_length_and_an_end(expected):
    trainer = srft.Trainer(SMALL)
    assert len(trainer) == 4 and "0 of 4 steps" in repr(trainer)
    first = next(trainer)
    assert len(trainer) == 3 and trainer.steps_done == 1
    rest = list(trainer)
    assert untimed([first, *rest]) == expected == untimed(trainer.reports)
    assert len(trainer) == 0 and list(trainer) == []
    with pytest.raises(srft.InputError, match="all 4 steps are done"):
        trainer.step()
    assert [report["step"] for report in trainer.reports] == [1, 2, 3, 4]


def interrupted(trainer, history):
    """Goes on until an interrupt, which is sent as soon as the trainer lets go of the interpreter."""
    begins = threading.Event()

    def interrupt():
        begins.wait()
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    switches = sys.getswitchinterval()
    sys.setswitchinterval(3600)  # nobody but the trainer lets go
    try:
        with pytest.raises(KeyboardInterrupt):
            begins.set()
            for report in trainer:
                history.append(report)
    finally:
        sys.setswitchinterval(switches)
    thread.join()


def test_an_interrupt_lets_a_short_step_end():
    many = SMALL | {"train.steps": 1000}
    trainer, history = srft.Trainer(many), []
    # Now and then an interrupt comes between two steps, which says nothing; a step that is dropped never passes.
    for _ in range(20):
        interrupted(trainer, history)
        if trainer.steps_done > len(history):
            break
    assert trainer.steps_done == len(history) + 1, "the step in which it came is whole"
    history.append(next(trainer))
    assert history[-1]["step"] == trainer.steps_done, "and its report was still to be given"
    history.append(next(trainer))
    undisturbed = srft.Trainer(many)
    assert untimed(history) == untimed(next(undisturbed) for _ in history) == untimed(trainer.reports)


def test_a_reward_function_judges(expected):
    asked = []

    def reward(example, response):
        asked.append((example, response))
        return example.answer == response.split(">")[-1] and response.count(">") == 1

    trainer = srft.Trainer(SMALL, reward=reward)
    assert untimed(trainer) == expected, "it is the built-in verifier, in Python"
    assert all(isinstance(e, srft.Example) and isinstance(r, str) for e, r in asked)
    assert trainer.config["data.verifier"] == "given"


def test_rewards_have_names_and_weights(tmp_path):
    def short(example, response):
        return 1 / len(response) if response else 0

    rewards = {"short": (0.5, short), "watched": (0, lambda example, response: ">" in response)}
    one = SMALL | {"train.steps": 1, "optimizer.schedule": "constant"}
    trainer = srft.Trainer(one, out=tmp_path / "run", rewards=rewards)
    report = trainer.step()
    assert list(report["rewards"]) == ["answer", "short", "watched"]
    assert report["rewards"]["answer"] == report["accuracy"]
    mean = (report["accuracy"] + 0.5 * report["rewards"]["short"]) / 1.5
    assert report["reward"] == pytest.approx(2 * mean - 1, abs=1e-6)
    trainer.finish()
    del trainer  # and with it the folder's lock
    with pytest.raises(srft.InputError, match="given by a program"):
        srft.Trainer.resume(tmp_path / "run")
    more = srft.Trainer.resume(tmp_path / "run", {"train.steps": 2}, rewards=rewards)
    assert more.step()["rewards"].keys() == report["rewards"].keys()
    del more
    other = {"short": (0.25, short), "watched": rewards["watched"]}
    with pytest.raises(srft.InputError, match="reward.named"):
        srft.Trainer.resume(tmp_path / "run", rewards=other)
    for wrong, words in [
        ({"a b": short}, "the name"),
        ({"answer": short}, "reward.named"),
        ({"short": 0.5}, "a pair of a weight and a function"),
        ({"short": (float("nan"), short)}, "finite"),
        ({"short": (1, 2)}, "expected a function"),
    ]:
        with pytest.raises((srft.InputError, TypeError), match=words):
            srft.Trainer(SMALL, rewards=wrong)
    trouble = ValueError("no")

    def broken(example, response):
        raise trouble

    with pytest.raises(ValueError) as raised:
        srft.Trainer(SMALL, rewards={"broken": broken}).step()
    assert raised.value is trouble


def test_a_task_of_reasoning_gym_is_made_and_judged_here(monkeypatch, tmp_path):
    asked = []

    class Sums:
        def __init__(self, size=30, seed=None, first=2):
            self.size, self.first = size, first
            assert seed == 0, "the same problems again"

        def __len__(self):
            return self.size

        def __getitem__(self, index):
            return {"question": f"{self.first}+{index}=", "answer": self.first + index, "metadata": (1,)}

        def score_answer(self, answer, entry):
            asked.append(entry)
            if len(asked) == 1:
                raise ZeroDivisionError("no way")
            return 0.0 if answer is None else min(1.0, len(answer) / 4)

    gym = types.ModuleType("reasoning_gym")
    gym.create_dataset = lambda name, **settings: {"sums": Sums}[name](**settings)
    monkeypatch.setitem(sys.modules, "reasoning_gym", gym)
    settings = SMALL | {"objective.method": "grpo", "data.answer_after": ">", "train.steps": 2}
    task = settings | {"data.task": "reasoning_gym:sums?first=3"}
    trainer = srft.Trainer(task, out=tmp_path / "run")
    assert trainer.config["data.verifier"] == "task"
    reports = list(trainer)
    assert sum(report["unscored"] for report in reports) <= 1, "what a scorer raises is no score"
    assert asked and all(entry["metadata"] == (1,) for entry in asked), "a tuple stays one"
    for group in trainer.groups:
        assert group.example.prompt.startswith("3+") and group.example.extra["index"] < 30
        for reward, episode in zip(group.rewards, group.episodes):
            before, marker, answer = episode.response.rpartition(">")
            score = min(1.0, len(answer.strip()) / 4) if marker and not episode.truncated else 0.0
            assert reward == pytest.approx(2 * score - 1)
    for wrong, words in [
        ("products", "KeyError: 'products'"),
        ("sums?first", "not of the form key=value"),
        ("sums?size=0", "has no problems"),
    ]:
        with pytest.raises(srft.InputError, match=words):
            srft.Trainer(settings | {"data.task": f"reasoning_gym:{wrong}"})
    monkeypatch.setitem(sys.modules, "reasoning_gym", None)
    with pytest.raises(srft.InputError, match="pip install reasoning-gym"):
        srft.Trainer(settings | {"data.task": "reasoning_gym:sums?first=4"})


def test_a_reward_function_that_raises_ends_the_step(expected):
    class Bug(Exception):
        pass

    trouble = Bug("line 3 of mine")
    calls = 0

    def reward(example, response):
        nonlocal calls
        calls += 1
        if calls == 20:
            raise trouble
        return example.answer == response.split(">")[-1] and response.count(">") == 1

    trainer = srft.Trainer(SMALL, reward=reward)
    with pytest.raises(Bug) as raised:
        list(trainer)
    assert raised.value is trouble and raised.traceback[-1].name == "reward"
    done = trainer.steps_done
    assert done < 4 and untimed(trainer.reports) == expected[:done], "the step was not applied"
    list(trainer)
    assert untimed(trainer.reports) == expected, "and the run goes on"


@pytest.mark.parametrize(
    ("given", "kind", "words"),
    [("high", TypeError, "gave a <class 'str'>"), (2.0, ValueError, "gave 2 for"), (float("nan"), ValueError, "NaN")],
)
def test_a_score_must_be_one(given, kind, words):
    trainer = srft.Trainer(SMALL, reward=lambda example, response: given)
    with pytest.raises(kind, match=words):
        trainer.step()
    assert trainer.steps_done == 0


def test_none_leaves_a_rollout_out():
    calls = iter(range(10**6))
    trainer = srft.Trainer(
        SMALL | {"objective.method": "grpo"},
        reward=lambda example, response: None if next(calls) % 4 == 0 else len(response) % 2,
    )
    report = trainer.step()
    assert report["unscored"] == 3 and [len(g.episodes) for g in trainer.groups] == [3, 3, 3]
    with pytest.raises(srft.MachineError, match="no response could be scored"):
        srft.Trainer(SMALL | {"objective.method": "grpo"}, reward=lambda example, response: None).step()
    with pytest.raises(TypeError, match="expected a function"):
        srft.Trainer(SMALL, reward=3)


def test_two_trainers_at_once(expected):
    other = SMALL | {"run.seed": 1}
    alone = untimed(srft.Trainer(other))
    trainers = [srft.Trainer(SMALL), srft.Trainer(other)]
    results = [None, None]

    def train(index):
        results[index] = untimed(trainers[index])

    threads = [threading.Thread(target=train, args=[i]) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected, alone]


def test_a_trainer_does_one_thing_at_a_time():
    def reward(example, response):
        trainer.step()

    trainer = srft.Trainer(SMALL, reward=reward)
    with pytest.raises(srft.InputError, match="the trainer is in a step"):
        trainer.step()
    assert trainer.steps_done == 0


def test_a_reward_function_that_holds_its_trainer_is_collected():
    class Judge:
        def __call__(self, example, response):
            return 0.5

    judge = Judge()
    judge.trainer = srft.Trainer(SMALL, reward=judge)
    judge.trainer.step()
    gone, folder = weakref.ref(judge), judge.trainer.out
    del judge
    gc.collect()
    assert gone() is None and not folder.exists()


def test_the_interpreter_is_free_while_a_step_computes():
    trainer = srft.Trainer(SMALL | {"rollout.prompts": 32, "rollout.group": 8})
    ticks, done = 0, threading.Event()

    def work():
        trainer.step()
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not done.wait(0.001):
        ticks += 1
    thread.join()
    assert ticks > 10


def test_resuming_goes_on_bit_for_bit(expected, tmp_path):
    trainer = srft.Trainer(SMALL, out=tmp_path / "run")
    next(trainer), next(trainer)
    checkpoint = trainer.save()
    assert checkpoint.is_dir() and tmp_path / "run" in checkpoint.parents
    next(trainer)
    del trainer
    resumed = srft.Trainer.resume(tmp_path / "run")
    assert resumed.steps_done == 2
    assert untimed([*resumed.reports, *resumed]) == expected
    summary = resumed.finish()
    assert summary["steps"] == 4 and (tmp_path / "run" / "summary.json").exists()
    with pytest.raises(srft.InputError, match="is training in this folder"):
        srft.Trainer.resume(tmp_path / "run")
    del resumed
    with pytest.raises(srft.InputError, match="optimizer.lr"):
        srft.Trainer.resume(tmp_path / "run", {"optimizer.lr": 0.5})
    with pytest.raises(srft.InputError, match="run"):
        srft.Trainer(SMALL, out=tmp_path / "run")


def test_evaluations_are_kept_and_not_repeated(tmp_path):
    trainer = srft.Trainer(SMALL, out=tmp_path / "run")
    first = trainer.evaluate()
    assert trainer.evaluate() == first and [s["suite"] for s in first] == srft.task().suites
    trainer.step()
    trainer.evaluate()
    lines = (tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [0, 1]
    assert json.loads(lines[0])["scores"] == first


def test_a_trained_model_can_be_taken_out(tmp_path):
    trainer = srft.Trainer(SMALL)
    before = trainer.model
    trainer.step()
    after = trainer.model
    name = "model.norm.weight"
    assert (before.parameters()[name] != after.parameters()[name]).any(), "a snapshot stays as it was"
    again = srft.Model.load(trainer.save(tmp_path / "model"), device=DEVICE)
    assert (again.parameters()[name] == after.parameters()[name]).all()


EXAMPLES = [srft.Example(f"{n}=", answer=str(n % 10), demonstration=f">{n % 10}") for n in range(100)]


def right(example, response):
    return response == f">{example.answer}"


def test_examples_of_ones_own(program, tmp_path):
    out = tmp_path / "run"
    trainer = srft.Trainer(
        SMALL | {"train.steps": 30, "rollout.prompts": 8},
        out=out,
        examples=EXAMPLES[:80],
        suites={"held": EXAMPLES[80:90], "other": EXAMPLES[90:]},
        reward=right,
    )
    before = trainer.evaluate()
    assert [(s["suite"], s["n"]) for s in before] == [("held", 5), ("other", 5)]
    reports = list(trainer)
    assert reports[-1]["reward"] > 0 > reports[0]["reward"]
    assert {group.example.suite for group in trainer.groups} == {"train"}
    trainer.save()
    del trainer
    # Nobody else can go on with it unasked.
    told = program("train", "--resume", out, expect=2).stderr
    assert "a program" in told and "next:" in told
    resumed = srft.Trainer.resume(
        out,
        examples=EXAMPLES[:80],
        suites={"held": EXAMPLES[80:90], "other": EXAMPLES[90:]},
        reward=right,
    )
    assert resumed.steps_done == 30


def test_a_tenth_is_evaluated_on_where_no_suite_is_given():
    trainer = srft.Trainer(SMALL, examples=EXAMPLES, reward=right)
    assert [(s["suite"], s["n"]) for s in trainer.evaluate()] == [("train", 5)]


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        ([], "no examples"),
        ([srft.Example("1=", "1")] * 20, "given:train: example 0: no demonstration"),
        ([srft.Example("1=", "", ">1")] * 20, "the gold answer is empty"),
        ([srft.Example("ab", "1", ">1")] * 20, "no token for 'a'"),
        ([srft.Example("1" * 4000, "1", ">1")] * 20, "example 0"),
    ],
)
def test_bad_examples_are_refused(examples, words):
    with pytest.raises(srft.InputError, match=words):
        srft.Trainer(SMALL, examples=examples)


@pytest.mark.parametrize("name", ["", " a", "a/b", "train"])
def test_bad_suite_names_are_refused(name):
    with pytest.raises(srft.InputError, match="a suite is called"):
        srft.Trainer(SMALL, examples=EXAMPLES, suites={name: EXAMPLES})


def test_a_loss_that_is_not_finite_stops(tmp_path):
    trainer = srft.Trainer(SMALL | {"optimizer.lr": 1e30, "optimizer.warmup_steps": 0, "train.steps": 20})
    with pytest.raises(srft.NumbersError, match="the update was not applied") as raised:
        list(trainer)
    assert isinstance(raised.value, ArithmeticError) and "lower learning rate" in raised.value.next
