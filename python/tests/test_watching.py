"""Who watches a run: callbacks, and the trackers that srft.track makes, over fakes of their libraries."""

import inspect
import signal
import sys
import types

import pytest
import srft
from conftest import DEVICE

SMALL = {
    "run.device": DEVICE,
    "train.steps": 4,
    "rollout.prompts": 3,
    "rollout.group": 4,
    "eval.examples": 5,
    "eval.every": 2,
}


def untimed(values):
    return {k: v for k, v in values.items() if not k.endswith("_secs")}


class Watcher:
    def __init__(self):
        self.heard = []

    def begin(self, config):
        self.heard.append(("begin", config))

    def step(self, report):
        self.heard.append(("step", report))

    def evaluation(self, step, scores):
        self.heard.append(("evaluation", step, scores))

    def end(self, summary):
        self.heard.append(("end", summary))


def test_a_run_tells_what_it_does_and_does_what_the_program_does(program, tmp_path):
    watcher, logged = Watcher(), []
    trainer = srft.Trainer(SMALL, out=tmp_path / "run", rewards={"short": lambda e, r: 1 / (1 + len(r))})
    summary = trainer.run(callbacks=[watcher, lambda values, step: logged.append((step, values))])
    kinds = [(event[0], event[1] if event[0] == "evaluation" else None) for event in watcher.heard]
    step = ("step", None)
    evaluations = [("evaluation", at) for at in (0, 2, 4)]
    middle = [evaluations[0], step, step, evaluations[1], step, step, evaluations[2]]
    assert kinds == [("begin", None), *middle, ("end", None)]
    assert watcher.heard[0][1] == trainer.config and watcher.heard[-1][1] == summary
    assert [event[1] for event in watcher.heard if event[0] == "step"] == trainer.reports
    told = [dict(score, step=event[1]) for event in watcher.heard if event[0] == "evaluation" for score in event[2]]
    assert told == trainer.evaluations
    assert [at for at, _ in logged] == [0, 1, 2, 2, 3, 4, 4]
    for at, values in logged:
        assert all(isinstance(value, (int, float)) for value in values.values())
    first = trainer.reports[0]
    _, values = logged[1]
    assert values["loss/loss"] == first["loss"] and values["train/lr"] == first["lr"]
    assert values["reward/rewards/short"] == first["rewards"]["short"]
    assert "reward/step" not in values and not any(value is None for value in values.values())
    assert logged[0][1]["eval/add/accuracy"] == trainer.evaluations[0]["accuracy"]
    # The same as the program, step by step.
    of = [f"--set={key}={value}" for key, value in SMALL.items() if key != "run.device"]
    program("train", "--device", "cpu", *of, "--out", tmp_path / "program")
    alone = srft.Trainer(SMALL)
    alone.run()
    other = srft.Trainer.resume(tmp_path / "program", {"run.device": DEVICE})
    assert [untimed(r) for r in alone.reports] == [untimed(r) for r in other.reports]
    assert alone.evaluations == other.evaluations


def test_what_a_callback_raises_ends_a_saved_run(tmp_path):
    class Broken(Watcher):
        def step(self, report):
            if report["step"] == 2 and not self.heard:
                self.heard.append("raised")
                raise ConnectionError("no network")

        def begin(self, config):
            pass

        def evaluation(self, step, scores):
            pass

    broken, other = Broken(), Watcher()
    trainer = srft.Trainer(SMALL, out=tmp_path / "run")
    with pytest.raises(srft.MachineError, match="the callback .*Broken raised ConnectionError: no network") as raised:
        trainer.run([broken, other])
    assert isinstance(raised.value.__cause__, ConnectionError) and "Trainer.resume" in raised.value.next
    assert other.heard[-1] == ("end", None) and broken.heard == ["raised", ("end", None)]
    del trainer, raised
    resumed = srft.Trainer.resume(tmp_path / "run")
    assert resumed.steps_done == 2
    resumed.run(other)
    assert [e[1]["step"] for e in other.heard if e[0] == "step"] == [1, 3, 4]
    assert [e[1] for e in other.heard if e[0] == "evaluation"] == [0, 4], "2 was made before it was told"
    undisturbed = srft.Trainer(SMALL)
    undisturbed.run()
    assert list(map(untimed, resumed.reports)) == list(map(untimed, undisturbed.reports))


def test_an_interrupt_leaves_a_saved_run(tmp_path):
    watcher = Watcher()

    def interrupt(values, step):
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    trainer = srft.Trainer(SMALL, out=tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        trainer.run([interrupt, watcher])
    assert watcher.heard[-1] == ("end", None)
    del trainer
    assert srft.Trainer.resume(tmp_path / "run").steps_done == 3


@pytest.mark.parametrize("wrong", [3, [3], [object()], [Watcher], "wandb"])
def test_what_cannot_be_told_is_refused(wrong):
    trainer = srft.Trainer(SMALL)
    with pytest.raises(TypeError, match="a callback is .*srft.track"):
        trainer.run(wrong)
    assert trainer.steps_done == 0 and trainer.evaluations == []


class Library(types.ModuleType):
    """A library that records what it is asked, by the real one's signatures."""

    def __init__(self, name, signatures):
        super().__init__(name)
        self.calls = []
        for function, signature in signatures.items():
            setattr(self, function, self.recording(function, signature))

    def recording(self, function, signature):
        def call(*args, **kwargs):
            self.calls.append((function, inspect.signature(signature).bind(*args, **kwargs).arguments))

        return call


# wandb 0.31, trackio 0.43, mlflow 3.17; what stands behind these is not asked for.
LIBRARIES = {
    "wandb": {
        "init": lambda entity=None, project=None, dir=None, id=None, name=None, config=None, mode=None: None,
        "log": lambda data, step=None, commit=None: None,
        "finish": lambda exit_code=None, quiet=None: None,
    },
    "trackio": {
        "init": lambda project, name=None, group=None, space_id=None, config=None, resume="never": None,
        "log": lambda metrics, step=None: None,
        "finish": lambda: None,
    },
    "mlflow": {
        "set_experiment": lambda experiment_name=None, experiment_id=None: None,
        "start_run": lambda run_id=None, experiment_id=None, run_name=None, tags=None: None,
        "log_params": lambda params, synchronous=None: None,
        "log_metrics": lambda metrics, step=None, synchronous=None: None,
        "end_run": lambda status="FINISHED": None,
    },
}


def tracked(monkeypatch, name, trainer, /, **settings):
    library = Library(name, LIBRARIES[name])
    monkeypatch.setitem(sys.modules, name, library)
    trainer.run(srft.track(name, **settings))
    return library.calls


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_a_tracker_is_fed(monkeypatch, name):
    trainer = srft.Trainer(SMALL)
    calls = tracked(monkeypatch, name, trainer, name="first")
    assert calls[0] == ("init", {"project": "srft", "name": "first", "config": trainer.config})
    assert calls[-1] == ("finish", {})
    logged = [list(arguments.values()) for function, arguments in calls if function == "log"]
    assert [step for _, step in logged] == [0, 1, 2, 2, 3, 4, 4]
    assert logged[1][0]["reward/accuracy"] == trainer.reports[0]["accuracy"]
    assert tracked(monkeypatch, name, srft.Trainer(SMALL), project="mine")[0][1]["project"] == "mine"


def test_mlflow_is_fed_in_its_own_words(monkeypatch):
    examples = [srft.Example(f"{n}=", answer=str(n), demonstration=f">{n}") for n in range(20)]
    trainer = srft.Trainer(SMALL, examples=examples, suites={"sums?a=1": examples[:4]}, reward=lambda e, r: 0.5)
    calls = tracked(monkeypatch, "mlflow", trainer, experiment="sums", run_name="first")
    assert calls[:2] == [("set_experiment", {"experiment_name": "sums"}), ("start_run", {"run_name": "first"})]
    params = [arguments["params"] for function, arguments in calls if function == "log_params"]
    assert {k: v for some in params for k, v in some.items()} == trainer.config
    assert max(map(len, params)) <= 100
    metrics = [arguments["metrics"] for function, arguments in calls if function == "log_metrics"]
    assert "eval/sums_a_1/accuracy" in metrics[0], "names that MLflow takes"
    assert calls[-1] == ("end_run", {"status": "FINISHED"})
    failing = srft.Trainer(SMALL, examples=examples, reward=lambda e, r: 1 / 0)
    library = Library("mlflow", LIBRARIES["mlflow"])
    monkeypatch.setitem(sys.modules, "mlflow", library)
    with pytest.raises(ZeroDivisionError):
        failing.run(srft.track("mlflow"))
    assert library.calls[-1] == ("end_run", {"status": "FAILED"})


def test_a_tracker_that_is_not_there_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match="pip install wandb"):
        srft.track("wandb", project="sums")
    with pytest.raises(srft.InputError, match="no tracker `comet`\n.*trackio, wandb, mlflow"):
        srft.track("comet")
