"""Sums of two and three numbers of one and two digits, in words, with worked solutions: reasoning-gym's chain_sum.

    pip install reasoning-gym
    python docs/recipes/sums.py train.jsonl heldout.jsonl

No question is in both files.
"""

import json
import sys

import reasoning_gym


def rows(seed, count, asked):
    task = dict(min_terms=2, max_terms=3, min_digits=1, max_digits=2)
    for row in reasoning_gym.create_dataset("chain_sum", size=2 * count, seed=seed, **task):
        if row["question"] in asked:
            continue
        asked.add(row["question"])
        first, *rest = row["metadata"]["expression"].split()
        total, steps = int(first), []
        for sign, term in zip(rest[::2], rest[1::2]):
            new = total + int(term) if sign == "+" else total - int(term)
            steps.append(f"{total} {sign} {term} = {new}")
            total = new
        assert str(total) == row["answer"]
        yield {
            "prompt": [{"role": "user", "content": row["question"]}],
            "completion": [{"role": "assistant", "content": f"{'. '.join(steps)}. The answer is {total}."}],
            "answer": row["answer"],
        }


if __name__ == "__main__":
    train, heldout = sys.argv[1:]
    asked = set()
    for path, seed, count in ((heldout, 1002, 200), (train, 1, 3000)):
        found = [row for _, row in zip(range(count), rows(seed, count, asked))]
        assert len(found) == count
        with open(path, "w") as file:
            file.writelines(json.dumps(row) + "\n" for row in found)
