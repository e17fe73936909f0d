"""reasoning-gym's tasks by name, for srft: `NAME?key=value&...` makes a data set, its own scorer judges.

As a program it answers each line of JSON with one: a task with its number of problems, a row with a problem,
a response with a score. srft's Python module calls the functions.
"""

import json
import sys

_datasets = {}


def dataset(task):
    """The data set that a text such as `chain_sum?max_terms=3&seed=7` names."""
    if task not in _datasets:
        try:
            import reasoning_gym
        except ImportError as error:
            raise ValueError(
                f"reasoning-gym can't be imported by {sys.executable} ({error}): pip install reasoning-gym"
            ) from None
        name, _, query = task.partition("?")
        settings = {"seed": 0}
        for pair in filter(None, query.split("&")):
            key, equals, value = pair.partition("=")
            if not equals:
                raise ValueError(f"`{pair}` is not of the form key=value")
            try:
                settings[key] = json.loads(value.replace("True", "true").replace("False", "false"))
            except ValueError:
                settings[key] = value
        _datasets[task] = reasoning_gym.create_dataset(name, **settings)
    return _datasets[task]


def size(task):
    """How many problems it has."""
    return len(dataset(task))


def problem(task, index):
    """(question, answer), both texts."""
    entry = dataset(task)[index]
    return str(entry["question"]), str(entry["answer"])


def answer_in(response, marker):
    """What follows the last marker, or is in the last <answer>...</answer>, or else the whole response."""
    if marker:
        return response.rpartition(marker)[2].strip() if marker in response else None
    before, tag, inside = response.rpartition("<answer>")
    return (inside.partition("</answer>")[0] if tag else response).strip()


def score(task, index, response, marker):
    """The task's own score, 0 to 1."""
    data = dataset(task)
    score = float(data.score_answer(answer=answer_in(response, marker), entry=data[index]))
    return min(max(score, 0.0), 1.0)


def described(error):
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def main(marker):
    out = sys.stdout
    sys.stdout = sys.stderr  # what a task prints is no answer
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if "response" in asked:
                extra = asked["extra"]
                cut = asked["truncated"]
                of = extra["task"], extra["index"], asked["response"], marker
                answer = {"id": asked["id"], "score": 0.0 if cut else score(*of)}
            elif "index" in asked:
                question, gold = problem(asked["task"], asked["index"])
                answer = {"question": question, "answer": gold}
            else:
                answer = {"size": size(asked["task"])}
        except Exception as error:
            answer = {"error": described(error)}
        print(json.dumps(answer), file=out, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
