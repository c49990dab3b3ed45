"""Make store_v4.db, a store of format 4, as commit f8c4af8 wrote it: run this with that version.

amber     finished by its steps
birch     a fork of amber at trial 2, which was never resumed
cedar     killed: a trial is begun, and one was scored again
"""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing

from llm_optimize import optimize
from llm_optimize.records import Plan, Status, Trial
from llm_optimize.store import Store
from llm_optimize.testing import changed


def f(x):
    return float(len(x)), f"{len(x)} characters"


def killed(path):
    store = Store(path)
    task = {"description": "Longer.", "question": "Which?"}
    run = store.create_run("cedar", {"task": task, "x0": ["1"], "max_steps": 5})
    run.plan(0, Plan(None))
    trial = Trial.of(0, "1", Status.COMPLETE, "x0", 1.0)
    run.finish(trial, 1)
    run.score_again(changed(trial, score=0.5, scorings=3), after=1)
    run.plan(1, Plan(trial))
    os._exit(9)


def main(path):
    options = {"sandbox": "inline", "seed": 1, "store": path, "verbose": False}
    optimize.run("Longer.", "Which?", f, "1", 4, "mutation", name="amber", **options)
    optimize.fork("amber", 2, new_name="birch", store=path)
    subprocess.run([sys.executable, __file__, path, "killed"], check=False)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("pragma journal_mode = delete")
    for beside in (f"{path}-1.lock", f"{path}-3.lock"):
        if os.path.exists(beside):
            os.remove(beside)


if __name__ == "__main__":
    if len(sys.argv) > 2:
        killed(sys.argv[1])
    main(sys.argv[1])
