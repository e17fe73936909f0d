"""A run's numbers for trackio, W&B and MLflow: callbacks of `Trainer.run`.

Each library is asked for in its own words: a run begins with a config, takes numbers with a step, and ends.
"""

import importlib
import re


def imported(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{name} can't be imported ({error}): pip install {name}") from error


class Wandb:
    """W&B's functions; trackio has the same."""

    def __init__(self, library, settings):
        self.library, self.settings = library, settings

    def begin(self, config):
        self.library.init(**{"project": "srft", "config": config} | self.settings)

    def log(self, values, step):
        self.library.log(values, step=step)

    def end(self, summary):
        self.library.finish()


class Mlflow(Wandb):
    """MLflow's: `experiment` is the name of one, all else is for `mlflow.start_run`."""

    def begin(self, config):
        settings = dict(self.settings)
        experiment = settings.pop("experiment", None)
        if experiment is not None:
            self.library.set_experiment(experiment)
        self.library.start_run(**settings)
        pairs = list(config.items())
        for at in range(0, len(pairs), 100):  # no more at once
            self.library.log_params(dict(pairs[at : at + 100]))

    def log(self, values, step):
        plain = {re.sub(r"[^\w\-. :/]", "_", tag): value for tag, value in values.items()}
        self.library.log_metrics(plain, step=step)

    def end(self, summary):
        self.library.end_run("FAILED" if summary is None else "FINISHED")


TRACKERS = {"trackio": Wandb, "wandb": Wandb, "mlflow": Mlflow}


def track(name, settings):
    return TRACKERS[name](imported(name), settings)
