"""SRFT (arXiv 2506.19767), one formula at a time, and a trainer that puts them together.

Docstrings stand in the module itself: help(srft.Trainer).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Episode",
    "Error",
    "Example",
    "Group",
    "InputError",
    "Loss",
    "MachineError",
    "Model",
    "NumbersError",
    "Task",
    "TokenStats",
    "Tokenizer",
    "Trainer",
    "__version__",
    "advantages",
    "devices",
    "loss",
    "rewards",
    "rollout",
    "task",
    "token_stats",
    "track",
    "weights",
]

__version__: str

_Config: TypeAlias = Mapping[str, Any] | str | PathLike[str]
_Function: TypeAlias = Callable[[Example, str], float | bool | None]
_Verifier: TypeAlias = Literal["exact", "numeric", "gsm8k", "math", "choice", "regex"]
_Reward: TypeAlias = _Function | _Verifier
_Messages: TypeAlias = Sequence[Mapping[str, Any]]
_Ids: TypeAlias = Sequence[int] | NDArray[np.integer[Any]]

# A function (values, step), or an object with any of begin(config), step(report), evaluation(step, scores),
# log(values, step), end(summary).
_Callback: TypeAlias = Callable[[dict[str, float], int], Any] | object

# With a length and entries {"question", "answer", ...}, or an iterator over them.
class _Environment(Protocol):
    def score_answer(self, answer: Any, entry: Any) -> Any: ...

class Error(Exception):
    what: str
    place: str | None
    next: str | None

class InputError(Error, ValueError): ...
class MachineError(Error, RuntimeError): ...
class NumbersError(Error, ArithmeticError): ...

def devices() -> list[dict[str, Any]]: ...
def task(name: str = "arithmetic") -> Task: ...
def rollout(
    model: Model,
    prompts: Example | str | Iterable[Example | str],
    group: int = 8,
    seed: int = 0,
    *,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    max_new_tokens: int | None = None,
) -> list[Episode]: ...
def rewards(
    examples: Example | Sequence[Example],
    episodes: Sequence[Episode],
    reward: _Reward | None = None,
    *,
    values: Literal["signed", "binary"] = "signed",
) -> NDArray[np.float64]: ...
def advantages(rewards: ArrayLike, std: bool = True) -> NDArray[np.float64]: ...
def weights(
    entropy: ArrayLike,
    *,
    sft_scale: float = 0.5,
    rl_scale: float = 0.1,
    sft_sign: Literal["minus", "plus"] = "minus",
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
def token_stats(
    model: Model, prompt: Example | str, response: str | _Ids | None = None
) -> TokenStats: ...
def loss(
    model: Model,
    groups: Group | Sequence[Group],
    method: str | None = None,
    settings: _Config | None = None,
    *,
    gradients: bool = False,
) -> Loss: ...
def track(name: Literal["trackio", "wandb", "mlflow"], /, **settings: Any) -> Any: ...
@final
class Example:
    def __new__(
        cls,
        prompt: str | _Messages | None = None,
        answer: str = "",
        demonstration: str | _Messages | None = None,
        *,
        messages: _Messages | None = None,
        tools: _Messages | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        suite: str = "",
        extra: dict[Any, Any] | None = None,
        templated: bool = False,
        learned: Sequence[tuple[int, int]] = ...,
    ) -> Example: ...
    @property
    def prompt(self) -> Any: ...  # str; of an example of messages a list of them
    @property
    def answer(self) -> str: ...
    @property
    def demonstration(self) -> Any: ...  # str | None; of an example of messages a list of them, or None
    @property
    def suite(self) -> str: ...
    @property
    def extra(self) -> dict[Any, Any]: ...
    @property
    def templated(self) -> bool: ...
    @property
    def learned(self) -> list[tuple[int, int]]: ...
    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...

@final
class Task:
    @property
    def suites(self) -> list[str]: ...
    def examples(self, seed: int = 0, n: int = 1) -> list[Example]: ...
    def held_out(self, n: int = 200) -> list[Example]: ...

@final
class Episode:
    def __new__(
        cls,
        tokens: _Ids,
        logprobs: ArrayLike | None = None,
        entropies: ArrayLike | None = None,
        *,
        response: str,
        prompt: int = 0,
        sample: int = 0,
        truncated: bool = False,
        asked: str | None = None,
        vocabulary: int | None = None,
        temperature: float = 1.0,
        given: int = 0,
    ) -> Episode: ...
    @property
    def prompt(self) -> int: ...
    @property
    def sample(self) -> int: ...
    @property
    def tokens(self) -> NDArray[np.uint32]: ...
    @property
    def logprobs(self) -> NDArray[np.float32]: ...
    @property
    def entropies(self) -> NDArray[np.float32]: ...
    @property
    def temperature(self) -> float: ...
    @property
    def given(self) -> int: ...
    @property
    def truncated(self) -> bool: ...
    @property
    def response(self) -> str: ...
    @property
    def asked(self) -> str | None: ...
    @property
    def vocabulary(self) -> int | None: ...

@final
class Group:
    def __new__(
        cls,
        example: Example,
        episodes: Sequence[Episode],
        rewards: ArrayLike | None = None,
        demonstration_reward: float | None = None,
        *,
        reward: _Reward | None = None,
        right: Sequence[bool] | None = None,
    ) -> Group: ...
    @property
    def example(self) -> Example: ...
    @property
    def episodes(self) -> list[Episode]: ...
    @property
    def rewards(self) -> NDArray[np.float64]: ...
    @property
    def demonstration_reward(self) -> float | None: ...
    @property
    def right(self) -> list[bool] | None: ...
    @property
    def advantages(self) -> NDArray[np.float64]: ...

@final
class Tokenizer:
    @staticmethod
    def load(path: str | PathLike[str] | None = None, *, base: str | PathLike[str] | None = None) -> Tokenizer: ...
    def encode(self, text: str, *, continuation: bool = False, special: bool = True) -> NDArray[np.uint32]: ...
    def chat(
        self,
        messages: _Messages,
        answer: str = "",
        *,
        tools: _Messages | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        suite: str = "",
        extra: dict[Any, Any] | None = None,
    ) -> Example: ...
    def apply_chat_template(
        self, messages: _Messages, *, tools: _Messages | None = None, add_generation_prompt: bool = False, **kwargs: Any
    ) -> str: ...
    def decode(self, ids: _Ids) -> str: ...
    def pieces(self, ids: _Ids) -> list[str]: ...
    def __len__(self) -> int: ...

@final
class Model:
    @staticmethod
    def load(
        path: str | PathLike[str] | None = None, device: str = "auto", *, base: str | PathLike[str] | None = None
    ) -> Model: ...
    def save(
        self, path: str | PathLike[str], dtype: Literal["f32", "f16", "bf16"] = "f32", *, overwrite: bool = False
    ) -> None: ...
    def export_gguf(
        self,
        path: str | PathLike[str],
        kind: Literal["f32", "f16", "bf16", "q8_0"] = "q8_0",
        *,
        pre: str | None = None,
        overwrite: bool = False,
    ) -> None: ...
    def merge(self) -> Model: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def device(self) -> str: ...
    @property
    def config(self) -> dict[str, Any]: ...
    @property
    def size(self) -> int: ...
    def parameters(self) -> dict[str, NDArray[np.float32]]: ...
    def logits(
        self, prompt: Example | str, response: str | _Ids | None = None
    ) -> NDArray[np.float32]: ...

@final
class TokenStats:
    def __new__(
        cls, tokens: _Ids, pieces: Sequence[str], logprobs: ArrayLike, entropies: ArrayLike
    ) -> TokenStats: ...
    @property
    def tokens(self) -> NDArray[np.uint32]: ...
    @property
    def pieces(self) -> list[str]: ...
    @property
    def logprobs(self) -> NDArray[np.float32]: ...
    @property
    def entropies(self) -> NDArray[np.float32]: ...
    def __len__(self) -> int: ...

@final
class Loss:
    @property
    def terms(self) -> dict[str, float]: ...
    @property
    def grad_norm(self) -> dict[str, float]: ...
    @property
    def prompts(self) -> list[dict[str, Any]]: ...
    @property
    def gradients(self) -> dict[str, NDArray[np.float32]] | None: ...

@final
class Trainer:
    def __new__(
        cls,
        config: _Config | None = None,
        *,
        out: str | PathLike[str] | None = None,
        examples: Sequence[Example] | None = None,
        environment: _Environment | None = None,
        suites: Mapping[str, Sequence[Example] | _Environment] | None = None,
        reward: _Reward | None = None,
        rewards: Mapping[str, _Function | tuple[float, _Function]] | None = None,
        overwrite: bool = False,
    ) -> Trainer: ...
    @staticmethod
    def resume(
        out: str | PathLike[str],
        config: _Config | None = None,
        *,
        examples: Sequence[Example] | None = None,
        environment: _Environment | None = None,
        suites: Mapping[str, Sequence[Example] | _Environment] | None = None,
        reward: _Reward | None = None,
        rewards: Mapping[str, _Function | tuple[float, _Function]] | None = None,
        accept_changes: bool = False,
    ) -> Trainer: ...
    def step(self) -> dict[str, Any]: ...
    def run(self, callbacks: _Callback | Iterable[_Callback] | None = None) -> dict[str, Any]: ...
    def evaluate(self) -> list[dict[str, Any]]: ...
    def save(self, path: str | PathLike[str] | None = None, *, overwrite: bool = False) -> Path: ...
    def finish(self) -> dict[str, Any]: ...
    @property
    def reports(self) -> list[dict[str, Any]]: ...
    @property
    def evaluations(self) -> list[dict[str, Any]]: ...
    @property
    def groups(self) -> list[Group]: ...
    @property
    def model(self) -> Model: ...
    @property
    def config(self) -> dict[str, Any]: ...
    @property
    def notes(self) -> list[str]: ...
    @property
    def out(self) -> Path: ...
    @property
    def steps_done(self) -> int: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[dict[str, Any]]: ...
    def __next__(self) -> dict[str, Any]: ...
