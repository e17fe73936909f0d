#!/usr/bin/env python3
"""Golden files of chat templates: what transformers' own apply_chat_template makes of them.

Writes chat/expected.jsonl, a line a rendering: every template in chat/*/ with every conversation of
chat/conversations.json, with and without a generation prompt. And chat/expressions.jsonl: small
templates from chat/expressions.json that try what templates can call, one thing at a time.

A line has the text as "expected", or the words of raise_exception as "error", or the name of
another exception as "fails". The clock stands at 26 July 2024, 00:00:00.

    python tests/golden/make_chat.py
"""

import datetime
import json
import pathlib
import shutil
import tempfile
from importlib.metadata import version

import jinja2
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast
from transformers.utils import chat_template_utils

from common import header

FOLDER = pathlib.Path(__file__).parent / "chat"


class HeldClock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, tzinfo=tz)


chat_template_utils.datetime = HeldClock


def tokenizer(folder):
    """transformers' tokenizer of a fixture, which has all but a vocabulary."""
    with tempfile.TemporaryDirectory() as model:
        shutil.copytree(folder, model, dirs_exist_ok=True)
        Tokenizer(models.WordLevel({"<none>": 0}, unk_token="<none>")).save(f"{model}/tokenizer.json")
        return PreTrainedTokenizerFast.from_pretrained(model)


def outcome(render):
    try:
        return {"expected": render()}
    except jinja2.exceptions.TemplateError as e:
        # Jinja's own errors are subclasses; raise_exception throws this class itself.
        return {"error": str(e)} if type(e) is jinja2.exceptions.TemplateError else {"fails": type(e).__name__}
    except Exception as e:
        return {"fails": type(e).__name__}


def renderings():
    conversations = json.loads((FOLDER / "conversations.json").read_text())
    for folder in sorted(path for path in FOLDER.iterdir() if path.is_dir()):
        model = tokenizer(folder)
        for name, conversation in conversations.items():
            for prompt in (True, False):
                yield {"template": folder.name, "conversation": name, "add_generation_prompt": prompt} | outcome(
                    lambda: model.apply_chat_template(
                        conversation["messages"], tools=conversation.get("tools"), tokenize=False,
                        add_generation_prompt=prompt, **conversation.get("extra", {})))


def expressions():
    table = json.loads((FOLDER / "expressions.json").read_text())
    for template in table["templates"]:
        yield {"template": template} | outcome(
            lambda: chat_template_utils.render_jinja_template(
                [[{"role": "user", "content": "Hi"}]], chat_template=template, **table["variables"])[0][0])


def write(name, lines):
    head = header("make_chat.py")
    head["libraries"]["jinja2"] = version("jinja2")
    pinned = " ".join(f"{p}=={head['libraries'][p]}" for p in ("torch", "transformers", "jinja2"))
    head["regenerate"] = f"pip install {pinned} && python tests/golden/make_chat.py"
    lines = list(lines)
    with open(FOLDER / name, "w", newline="\n") as file:
        file.writelines(json.dumps(line) + "\n" for line in [head, *lines])
    kinds = {kind: sum(kind in line for line in lines) for kind in ("expected", "error", "fails")}
    print(f"{name}: {len(lines)} lines, {kinds}")


write("expected.jsonl", renderings())
write("expressions.jsonl", expressions())
