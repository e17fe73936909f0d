"""Environments: objects that are data and judge in one; and what else a model's own folder brings."""

import gc
import json
import os
import shutil
import signal
import threading
import time
import weakref

import pytest
import srft
from conftest import DEVICE, ROOT

SMALL = {
    "run.device": DEVICE,
    "objective.method": "grpo",
    "train.steps": 2,
    "rollout.prompts": 3,
    "rollout.group": 4,
    "eval.examples": 5,
}


class Sums:
    """As reasoning-gym's data sets are."""

    def __init__(self, size=20):
        self.size, self.asked = size, []

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return {"question": f"{index}+1=", "answer": index + 1, "metadata": {"pair": (index, 1)}}

    def score_answer(self, answer, entry):
        self.asked.append((answer, entry))
        return min(1.0, len(answer) / 8)


def untimed(reports):
    return [{k: v for k, v in report.items() if not k.endswith("_secs")} for report in reports]


def test_an_environment_is_data_and_judge(tmp_path):
    sums, other = Sums(), Sums(4)
    trainer = srft.Trainer(SMALL, environment=sums, suites={"held": other}, out=tmp_path / "run")
    scores = trainer.evaluate()
    assert [(s["suite"], s["n"]) for s in scores] == [("held", 4)] and len(other.asked) <= 4 and not sums.asked
    next(trainer)
    assert trainer.config["data.verifier"] == "given"
    for answer, entry in sums.asked:
        assert entry["metadata"]["pair"] == (int(entry["question"][:-3]), 1), "the entry as it is"
    for group in trainer.groups:
        assert group.example.extra["answer"] == int(group.example.answer) and group.example.suite == "train"
        for reward, episode in zip(group.rewards, group.episodes):
            score = 0 if episode.truncated else min(1, len(episode.response.strip()) / 8)
            assert reward == pytest.approx(2 * score - 1)
    reports = untimed([*trainer.reports, *trainer])
    trainer.save()
    del trainer
    with pytest.raises(srft.InputError, match="judged by a program"):
        srft.Trainer.resume(tmp_path / "run")
    resumed = srft.Trainer.resume(tmp_path / "run", environment=sums, suites={"held": other})
    assert untimed(resumed.reports) == reports
    del resumed
    with pytest.raises(srft.InputError, match="changed since"):
        srft.Trainer.resume(tmp_path / "run", environment=Sums(19), suites={"held": other})


def test_an_iterator_will_do_and_a_reward_takes_the_judges_place():
    class Lines:
        def __iter__(self):
            return ({"question": f"{n}=", "answer": n} for n in range(20))

        def score_answer(self, answer, entry):
            raise AssertionError("nobody asks")

    def reward(example, response):
        return float(example.extra["answer"] % 2)

    trainer = srft.Trainer(SMALL | {"data.answer_after": ">"}, environment=Lines(), reward=reward)
    trainer.step()
    for group in trainer.groups:
        wanted = 2 * (group.example.extra["answer"] % 2) - 1
        finished = [reward for reward, e in zip(group.rewards, group.episodes) if not e.truncated]
        assert finished == [wanted] * len(finished)


class Scores(Sums):
    def __init__(self, score):
        super().__init__()
        self.score = score

    def score_answer(self, answer, entry):
        return self.score(answer)


def broken(answer):
    raise KeyError("no such column")


@pytest.mark.parametrize(
    ("score", "words"),
    [
        (broken, "KeyError: 'no such column'"),
        (lambda answer: None, "score_answer gave None, expected 0 to 1"),
        (lambda answer: float("nan"), "score_answer gave nan"),
        (lambda answer: 1.5, "score_answer gave 1.5"),
        (lambda answer: [0.5], r"score_answer gave \[0.5\]"),
    ],
)
def test_what_is_no_score_is_counted_and_if_all_is_none_named(score, words):
    calls = iter(range(10**6))
    some = Scores(lambda answer: score(answer) if next(calls) % 4 == 3 else len(answer) % 2)
    trainer = srft.Trainer(SMALL, environment=some)
    report = trainer.step()
    asked = next(calls)
    assert report["unscored"] == asked // 4 > 0
    with pytest.raises(srft.MachineError, match=f"no response could be scored: the environment: .*{words}"):
        srft.Trainer(SMALL, environment=Scores(score)).step()


class Entries(Sums):
    def __init__(self, entry):
        super().__init__(3)
        self.entry = entry

    def __getitem__(self, index):
        return self.entry() if index == 2 else super().__getitem__(index)


class Endless:
    def __iter__(self):
        while True:
            yield {"question": "1=", "answer": 1}

    score_answer = None


def raises():
    raise OSError("no such file")


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (Sums(0), "environment has no entries"),
        (Entries(lambda: {"answer": 3}), "entry 2 of environment: it has no question"),
        (Entries(lambda: {"question": 3}), "entry 2 of environment: its question is a <class 'int'>"),
        (Entries(lambda: 7), "entry 2 of environment: it is a <class 'int'>"),
        (Entries(raises), "entry 2 of environment: the environment raised OSError: no such file"),
        (Entries(lambda: {"question": "?", "answer": 1}), "no token for"),
        (Endless(), "goes on after 100000 entries"),
        ([srft.Example("1=", "1")], "environment is a <class 'list'> without score_answer"),
    ],
)
def test_bad_environments_are_refused(environment, words):
    with pytest.raises(srft.InputError, match=words):
        srft.Trainer(SMALL, environment=environment)


def test_what_does_not_go_together_is_refused():
    examples = [srft.Example(f"{n}=", str(n)) for n in range(20)]
    with pytest.raises(srft.InputError, match="leave one out"):
        srft.Trainer(SMALL, environment=Sums(), examples=examples)
    with pytest.raises(srft.InputError, match="environments beside lists"):
        srft.Trainer(SMALL, environment=Sums(), suites={"other": examples})
    with pytest.raises(srft.InputError, match="no demonstration.*\n.*such as grpo"):
        srft.Trainer(SMALL | {"objective.method": "srft"}, environment=Sums())


def test_an_interrupt_ends_a_scorer_that_hangs():
    hangs = threading.Event()

    def score(answer):
        hangs.set()
        while True:
            time.sleep(0.01)

    def interrupt():
        hangs.wait()
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    trainer = srft.Trainer(SMALL, environment=Scores(score))
    with pytest.raises(KeyboardInterrupt):
        trainer.step()
    thread.join()
    assert trainer.steps_done == 0


def test_an_environment_that_holds_its_trainer_is_collected():
    sums = Sums()
    sums.trainer = srft.Trainer(SMALL, environment=sums)
    sums.trainer.step()
    gone = weakref.ref(sums)
    del sums
    gc.collect()
    assert gone() is None


# --- A model's own folder: its chat template, its adapters, its defaults


@pytest.fixture
def chat_model(tmp_path):
    """The built-in model with a template of few signs."""
    folder = tmp_path / "chat"
    srft.Model.load(device=DEVICE).save(folder)
    template = "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    (folder / "chat_template.jinja").write_text(template)
    return folder


def test_a_question_is_a_message_where_there_is_a_template(chat_model):
    trainer = srft.Trainer(SMALL | {"model.path": chat_model, "data.system": "0"}, environment=Sums())
    trainer.step()
    for group in trainer.groups:
        assert group.example.prompt == f"0{group.example.extra['question']}>" and group.example.templated


CHATS = ROOT / "tests" / "golden" / "chat"


@pytest.mark.parametrize("name", ["qwen3", "smollm3", "llama3.2", "mistral-7b"])
def test_a_chat_template_writes_what_transformers_writes(chat_model, name):
    (chat_model / "chat_template.jinja").unlink()
    for file in (CHATS / name).iterdir():
        shutil.copy(file, chat_model)
    tokenizer = srft.Tokenizer.load(chat_model)
    conversations = json.loads((CHATS / "conversations.json").read_text())
    rows = [json.loads(line) for line in (CHATS / "expected.jsonl").read_text().splitlines()[1:]]
    rows = [row for row in rows if row["template"] == name and "expected" in row]
    assert len(rows) > 10
    for row in rows:
        given = dict(conversations[row["conversation"]])
        more = given.pop("extra", {})
        text = tokenizer.apply_chat_template(**given, **more, add_generation_prompt=row["add_generation_prompt"])
        assert text == row["expected"], row["conversation"]


def test_what_no_template_writes_is_said(chat_model):
    tokenizer = srft.Tokenizer.load(chat_model)
    for wrong in ["1+1=", [1], {"role": "user"}]:
        with pytest.raises(srft.InputError, match="messages are not a list of dicts"):
            tokenizer.apply_chat_template(wrong)
    with pytest.raises(srft.InputError, match="the model has no chat template"):
        srft.Tokenizer.load().apply_chat_template([{"role": "user", "content": "1"}])


def test_adapters_train_are_saved_and_merged(tmp_path):
    trainer = srft.Trainer(SMALL | {"lora.rank": 4, "optimizer.lr": 1e-2, "objective.method": "sft"})
    list(trainer)
    adapted = trainer.model
    assert all(".lora_" in name for name in adapted.parameters())
    adapted.save(tmp_path / "adapter")
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {p.name for p in (tmp_path / "adapter").iterdir()}
    again = srft.Model.load(tmp_path / "adapter", device=DEVICE)
    merged = again.merge()
    assert merged.size == srft.Model.load(device=DEVICE).size
    merged.save(tmp_path / "merged")
    whole = srft.Model.load(tmp_path / "merged", device=DEVICE)
    base = srft.Model.load(device=DEVICE)
    of = [m.logits("12+3=", ">15") for m in (again, merged, whole, base)]
    assert abs(of[0] - of[1]).max() < 1e-4 and abs(of[1] - of[2]).max() < 1e-6
    assert abs(of[0] - of[3]).max() > 1e-2, "it had learned something"
    with pytest.raises(srft.InputError, match="the model has no adapters"):
        merged.merge()


def test_a_model_of_ones_own_has_the_programs_defaults(program, tmp_path):
    (tmp_path / "data.jsonl").write_text("".join(f'{{"prompt": "{n}=", "answer": "{n}"}}\n' for n in range(20)))
    folder = ROOT / "tests" / "golden" / "llama-tied"
    own = tmp_path / "own"
    shutil.copytree(folder, own)
    srft.Model.load(device=DEVICE).save(tmp_path / "tiny")
    shutil.copy(tmp_path / "tiny" / "tokenizer.json", own)
    for rank in (0, 4):
        settings = {"model.path": own, "data.train": [tmp_path / "data.jsonl"], "lora.rank": rank, "run.device": DEVICE}
        settings |= {"objective.method": "grpo"}
        mine = srft.Trainer(settings).config
        assert mine["optimizer.lr"] == (5e-4 if rank else 1e-5)
        assert (mine["rollout.max_new_tokens"], mine["rollout.slots"]) == (512, 64)
        out = tmp_path / f"run-{rank}"
        of = [f"--model={own}", f"--data={tmp_path / 'data.jsonl'}", f"--lora-rank={rank}", f"--device={DEVICE}"]
        brief = ["--set", "rollout.max_new_tokens=4", "--set", "eval.examples=1", "--steps", "1"]
        program("train", *of, "--method", "grpo", *brief, "--out", out)
        theirs = srft.Trainer.resume(out, {"train.steps": 1}).config
        differ = {key for key in mine if mine[key] != theirs[key]}
        assert differ == {"rollout.max_new_tokens", "eval.examples", "train.steps"}
