#!/usr/bin/env python3
"""Golden files of text as models read it: what transformers makes of conversations, prompts and bytes.

Writes text/KIND/, small tokenizers of the kinds that published models have, trained here on a few
sentences, with chat templates of their kinds; and text/expected.jsonl, a line a case:

    chat     a row of data, `prompt` and `whole` as apply_chat_template(tokenize=True) gives them, and
             `learned`, the positions in `whole` of the assistant's text with its end-of-text: from
             return_assistant_tokens_mask where the template has generation marks, else from the
             tokens' character offsets (a token belongs to who wrote its first character)
    pair     a text prompt and a completion: `prompt` and `whole`, each tokenized whole
    text     a text with the tokenizer's own special tokens, and what each of its beginnings decodes to
    stop     tokens of a text, and after how many of them a stop text is complete
    added    a tokenizer_config.json over the first kind's files, and a text's tokens

    python tests/golden/make_text.py
"""

import json
import pathlib
import shutil
import tempfile

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from common import header

FOLDER = pathlib.Path(__file__).parent / "text"

CORPUS = [
    "hello world", "the answer is 4", "what is two plus two", "you are a helpful assistant", "hi there",
    "The capital of France is Paris.", "Hello! How can I help you today?", "numbers 12 345 6789 2024",
    "user assistant system tool", "the quick brown fox jumps over the lazy dog", "think step by step",
    "Use it to close a turn.", "2+2=4, so 3*4 = 12\n\nand that is all.\n", "one\n\n\ntwo\n", "  indented   text",
    "é ü ñ naïve café", "def f(x):\n    return x + 1\n",
] * 20

QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|"
        r"\s+(?!\S)|\s+")
LLAMA3 = QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|", 1)

CHATML = """{%- if messages[0]['role'] != 'system' -%}
    {{- '<|im_start|>system\\nYou are a helpful assistant<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
MARKED = """{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- '<|im_start|>assistant\\n' }}
        {%- generation %}
            {{- message.content + '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\\n' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}
"""
HEADERS = """{{- bos_token -}}
{%- for message in messages -%}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}
"""
INST = """{%- for message in messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}
        {{- raise_exception('roles must alternate user/assistant') -}}
    {%- endif -%}
    {%- if message['role'] == 'user' -%}
        {{- bos_token + '[INST] ' + message['content'] + ' [/INST]' -}}
    {%- else -%}
        {{- ' ' + message['content'] + ' ' + eos_token -}}
    {%- endif -%}
{%- endfor -%}
"""
MISTRAL = INST.replace("bos_token + '[INST] '", "(bos_token if loop.first else '') + '[INST] '").replace(
    "' ' + message['content'] + ' '", "' ' + message['content']")
ZEPHYR = """{% for message in messages %}
{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token }}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>\\n' }}
{%- endif %}
{% endfor %}
"""


def byte_level(*before, specials, ignore_merges=False, **byte_level_options):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    t.pre_tokenizer = pre_tokenizers.Sequence(
        [*before, pre_tokenizers.ByteLevel(add_prefix_space=False, **byte_level_options)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=420, special_tokens=specials, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False))
    return t


def sentence_piece(form):
    """As conversions of a tokenizer.model are: byte fallback, and a space before every text."""
    specials = ["<unk>", "<s>", "</s>"]
    t = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always")
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(
        vocab_size=460, special_tokens=specials + [f"<0x{i:02X}>" for i in range(256)], show_progress=False))
    state = json.loads(t.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in specials]
    t = Tokenizer.from_str(json.dumps(state))
    if form == "legacy":
        t.pre_tokenizer = None
        t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme=form, split=False)
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                   decoders.Strip(" ", 1, 0)])
    t.post_processor = begin("<s>", 1)
    return t


def begin(token, index):
    return processors.TemplateProcessing(single=f"{token} $A", pair=f"{token} $A {token} $B:1",
                                         special_tokens=[(token, index)])


def kinds():
    """Name, tokenizer, template, named special tokens, what ends a turn."""
    chatml = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    named = {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    digits = pre_tokenizers.Digits(individual_digits=True)
    yield "smollm2", byte_level(digits, specials=chatml), CHATML, named, "<|im_end|>"
    split = lambda regex: pre_tokenizers.Split(Regex(regex), "isolated")
    qwen = byte_level(split(QWEN), specials=chatml, use_regex=False)
    qwen.normalizer = normalizers.NFC()
    qwen.post_processor = processors.ByteLevel(trim_offsets=False)
    qwen.add_tokens(["<think>", "</think>"])
    yield "qwen3", qwen, MARKED, named, "<|im_end|>"
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    llama = byte_level(split(LLAMA3), specials=specials, ignore_merges=True, use_regex=False)
    llama.post_processor = processors.Sequence(
        [processors.ByteLevel(trim_offsets=True), begin("<|begin_of_text|>", 0)])
    yield "llama3", llama, HEADERS, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}, "<|eot_id|>"
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    yield "llama2", sentence_piece("legacy"), INST, named, "</s>"
    yield "mistral", sentence_piece("first"), MISTRAL, named, "</s>"
    yield "zephyr", sentence_piece("always"), ZEPHYR, named, "</s>"


def said(role, content):
    return {"role": role, "content": content}


def rows(kind):
    user, assistant = (lambda text, role=role: said(role, text) for role in ("user", "assistant"))
    two = [user("hi there"), assistant("hello world")]
    more = [user("what is two plus two"), assistant("the answer is 4")]
    yield {"messages": two}
    yield {"messages": two + more}
    yield {"messages": [user("naïve cafe\u0301 12345"), assistant("日本 👍🏽 e\u0301\u0323 ÅÅ 2024")]}
    yield {"messages": [user("def f(x):\n    return"), assistant("  x  +  1\n\n\n\tand\u00a0so on ")]}
    end = {"smollm2": "<|im_end|>", "qwen3": "<|im_end|>", "llama3": "<|eot_id|>"}.get(kind, "</s>")
    yield {"messages": [user("what ends a turn"), assistant(f"Use {end} to close a turn.")] + two}
    yield {"messages": [user("what ends a turn"), assistant(f"Use {end} to close a turn, that is {end}")]}
    if kind in ("llama2", "mistral"):
        return
    yield {"messages": [assistant("Hello! How can I help you today?")] + more}
    yield {"messages": [said("system", "you are"), assistant("Hello!")] + more}
    tools = [assistant("think step by step"), said("tool", "4"), assistant("the answer is 4")]
    yield {"prompt": more[:1], "completion": tools}
    yield {"prompt": two + more[:1], "completion": [assistant("so")] + tools}


def template_of(t):
    return lambda messages, asks: t.apply_chat_template(messages, tokenize=False, add_generation_prompt=asks)


def learned_by_offsets(t, messages, end):
    """Positions in the whole of what the assistant wrote, from where each turn is asked for to its end."""
    render = template_of(t)
    text = render(messages, False)
    offsets = t(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
    positions, at = [], 0
    for index, message in enumerate(messages):
        asked = render(messages[:index], True) if index and message["role"] == "assistant" else None
        content = text.index(message["content"].strip(), at)
        start = len(asked) if asked and text.startswith(asked) else content
        at = content + len(message["content"].strip())
        if message["role"] == "assistant":
            stop = text.index(end, at) + len(end)
            # Trimmed offsets leave out the spaces that a token begins with.
            begins = [offsets[i - 1][1] if i and offsets[i][0] > offsets[i - 1][1] else a
                      for i, (a, b) in enumerate(offsets)]
            positions += [i for i, a in enumerate(begins) if start <= a < stop]
    return positions


def ids_of(encoded):
    return list(encoded["input_ids"] if hasattr(encoded, "keys") else encoded)


def chats(t, kind, template, end):
    for row in rows(kind):
        messages = row.get("messages") or row["prompt"] + row["completion"]
        asked = len(row["prompt"]) if "prompt" in row else len(messages) - 1
        chat = lambda part, **more: t.apply_chat_template(part, tokenize=True, return_dict=True, **more)
        whole = chat(messages, return_assistant_tokens_mask="endgeneration" in template)
        masks = whole.get("assistant_masks")
        learned = [i for i, one in enumerate(masks) if one] if masks else learned_by_offsets(t, messages, end)
        yield {"row": row, "prompt": ids_of(chat(messages[:asked], add_generation_prompt=True)),
               "whole": ids_of(whole), "learned": learned}


PAIRS = [("2+2=", "4"), ("hello", " world"), ("hello ", "world"), ("one\n", "\ntwo"), ("12", "345"),
         ("the answer is ", "4"), ("caf", "é 👍"), ("Hello!", "How can I")]

TEXTS = ["hello world", "日本 👍🏽 naïve", "  two\n\n\nthree ", "e\u0301 12345"]


def write_cases(out):
    for kind, backend, template, named, end in kinds():
        folder = FOLDER / kind
        folder.mkdir(parents=True)
        t = PreTrainedTokenizerFast(tokenizer_object=backend, **named)
        t.chat_template = template
        t.save_pretrained(folder)
        for path in (folder / "tokenizer.json", folder / "tokenizer_config.json"):
            content = json.loads(path.read_text())
            path.write_text(json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n")
        t = PreTrainedTokenizerFast.from_pretrained(folder)
        for case in chats(t, kind, template, end):
            out({"case": "chat", "kind": kind, **case})
        for prompt, completion in PAIRS:
            ids = [ids_of(t(text)) for text in (prompt, prompt + completion)]
            out({"case": "pair", "kind": kind, "row": {"prompt": prompt, "completion": completion},
                 "prompt": ids[0], "whole": ids[1]})
        for text in TEXTS:
            ids = ids_of(t(text))
            alone = ids_of(t(text, add_special_tokens=False))
            decoded = [t.decode(alone[:k], skip_special_tokens=True) for k in range(1, len(alone) + 1)]
            out({"case": "text", "kind": kind, "text": text, "ids": ids, "alone": alone, "decoded": decoded})
        ids = ids_of(t("the quick brown fox 👍 jumps\n\nover", add_special_tokens=False))
        for stop in ["ck br", "👍", "s\n", "over the"]:
            holds = [k for k in range(1, len(ids) + 1) if stop in t.decode(ids[:k])]
            out({"case": "stop", "kind": kind, "ids": ids, "stop": stop, "after": min(holds, default=None)})


def flags(content, **more):
    plain = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    return {"content": content, **plain, **more}


def write_added(out):
    """What tokenizer_config.json says of added tokens, over a tokenizer.json with all, some, or none."""
    text = "<|im_start|>user\nhi <|im_end|> \n<think> step</think>  <|im_end|>\n"
    files = json.loads((FOLDER / "smollm2" / "tokenizer.json").read_text())
    listed = {str(token["id"]): flags(token["content"]) for token in files["added_tokens"]}
    changed = lambda **more: {key: {**token, **more} for key, token in listed.items()}
    some = files["added_tokens"][:1]
    stripping = [{**token, "rstrip": True} for token in files["added_tokens"]]
    last = str(max(files["model"]["vocab"].values()) + 1)
    for added, config in [
        ([], {"added_tokens_decoder": listed}),
        (some, {"added_tokens_decoder": changed(rstrip=True)}),
        (files["added_tokens"], {"added_tokens_decoder": changed(lstrip=True, rstrip=True)}),
        (stripping, {"added_tokens_decoder": listed}),
        (stripping, {}),
        (files["added_tokens"], {"added_tokens_decoder": {**listed, last: flags("<think>")}}),
        (files["added_tokens"], {"added_tokens_decoder": {**listed, last: flags("</think>", special=False)}}),
        ([], {"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]}),
        ([], {"extra_special_tokens": {"turn_token": "<|im_start|>"}}),
        (stripping, {"extra_special_tokens": ["<|im_start|>"]}),
        ([], {}),
    ]:
        config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", **config}
        with tempfile.TemporaryDirectory() as model:
            folder = pathlib.Path(model)
            (folder / "tokenizer.json").write_text(json.dumps({**files, "added_tokens": added}))
            (folder / "tokenizer_config.json").write_text(json.dumps(config))
            t = PreTrainedTokenizerFast.from_pretrained(model)
        out({"case": "added", "kind": "smollm2", "added_tokens": added, "config": config, "text": text,
             "ids": ids_of(t(text, add_special_tokens=False))})


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    lines = [header("make_text.py")]
    write_cases(lines.append)
    write_added(lines.append)
    text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
    (FOLDER / "expected.jsonl").write_text(text)


if __name__ == "__main__":
    main()
