#!/usr/bin/env python3
r"""Cases of mathematical equivalence, judged by math-verify: math/cases.txt to math/cases.jsonl.

cases.txt says by hand which responses mean a gold answer and which don't:

    # category
    gold answer
      = response ¦ response           mean it
      ≠ response ¦ response           don't
      =! response                     means it, but math-verify says otherwise
      ≠! response                     likewise; the line below gives the reason
         -- reason

A response stands for \boxed{response}; after an @ it is the whole response, ⏎ a line break in it.
A difference without a reason, or a reason without a difference, is refused.

cases.jsonl has a header and then one case a line: `category`, `gold`, `response`, `math_verify`, its
verdict, and where srft differs, `ours` and `why`.

math-verify reads the gold answer as \boxed{gold} (bare text it would mostly not read at all) and the
response as it is, both with its default settings. Its timeouts need the main thread: so this runs
there, one case after the other.

    python tests/golden/make_math.py
"""

import json
import logging
import pathlib
from importlib.metadata import version

from math_verify import parse, verify

FOLDER = pathlib.Path(__file__).parent / "math"


def read_cases():
    """The cases as dictionaries, with our own verdict."""
    category = gold = None
    cases = []
    for number, line in enumerate((FOLDER / "cases.txt").read_text().splitlines(), 1):
        if line.startswith("# "):
            category = line[2:]
        elif not line.startswith(" "):
            gold = line
        elif line.startswith("     -- "):
            for case in cases:
                if case["why"] == "":
                    case["why"] = line[8:]
        else:
            sign, _, responses = line[2:].partition(" ")
            if sign not in ("=", "≠", "=!", "≠!"):
                raise SystemExit(f"cases.txt:{number}: a response line starts with one of = ≠ =! ≠!")
            for response in responses.split(" ¦ "):
                whole = response.removeprefix("@").replace("⏎", "\n")
                case = {"category": category, "gold": gold}
                case["response"] = whole if response.startswith("@") else f"\\boxed{{{response}}}"
                cases.append(case | {"ours": sign[0] == "=", "why": "" if sign.endswith("!") else None})
    return cases


def boxed(gold):
    return gold if "\\boxed" in gold else f"\\boxed{{{gold}}}"


def judged(case):
    """The case with math-verify's verdict; ours and the reason only where they are needed."""
    ours, why = case.pop("ours"), case.pop("why")
    theirs = bool(verify(parse(boxed(case["gold"])), parse(case["response"])))
    case["math_verify"] = theirs
    if (theirs != ours) != bool(why):
        raise SystemExit(f"{case}: ours is {ours}, the reason for a difference: {why}")
    return case if theirs == ours else case | {"ours": ours, "why": why}


def print_table(cases):
    """Cases and agreements by category, as the documentation has them."""
    rows = {}
    for case in cases:
        rows.setdefault(case["category"], []).append("ours" not in case)
    rows["all"] = ["ours" not in case for case in cases]
    print("| category | cases | agreements |\n|---|---|---|")
    for category, agreements in rows.items():
        print(f"| {category} | {len(agreements)} | {sum(agreements)} |")


def main():
    logging.disable(logging.WARNING)  # math-verify reports every timeout
    cases = [judged(case) for case in read_cases()]
    pairs = [(case["gold"], case["response"]) for case in cases]
    twice = {pair for pair in pairs if pairs.count(pair) > 1}
    if twice:
        raise SystemExit(f"twice: {twice}")
    libraries = {name: version(name) for name in ["math-verify", "latex2sympy2-extended", "sympy"]}
    header = {
        "format": "srft-golden",
        "version": 1,
        "generator": "tests/golden/make_math.py",
        "libraries": libraries,
        "regenerate": "pip install math-verify==0.9.0 && python tests/golden/make_math.py",
    }
    lines = [json.dumps(line, ensure_ascii=False) + "\n" for line in [header, *cases]]
    (FOLDER / "cases.jsonl").write_text("".join(lines))
    print_table(cases)


if __name__ == "__main__":
    main()
