"""Runs and trials as text for a terminal, or as JSON for programs; nothing in them can move a cursor."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..records import Status, Trial, describe_failure
from ..text import one_line, plain, show_number, show_x, unified_diff, visible
from ..watch.amounts import amount
from ..watch.rendering import shown_scores

if TYPE_CHECKING:
    from ..sandbox import Mechanism
    from ..store import Call, RunInfo
    from ..watch.run_view import RunView


def as_json(value: Any) -> str:
    """Return records as JSON; NaN, which JSON does not have, becomes null."""
    return json.dumps(plain(value), indent=2)


def runs_table(runs: Sequence[RunInfo]) -> str:
    """Return one line a run."""
    if not runs:
        return "no runs yet"
    rows = [["name", "trials", "best", "begun", "state", "task"]]
    for run in runs:
        begun = datetime.fromtimestamp(run.created_at).strftime("%Y-%m-%d %H:%M")
        best = "" if run.best_score is None else show_number(run.best_score)
        task = one_line(run.settings["task"]["description"], 50)
        rows.append(
            [
                run.name,
                str(run.trials),
                best,
                begun,
                one_line(run.stop_reason or "not ended", 30),
                task,
            ]
        )
    return _aligned(rows, right={1, 2})


def mechanisms_table(mechanisms: Sequence[Mechanism]) -> str:
    """Return one line for each mechanism of the sandbox; below those that do not work here, how to get them."""
    rows = [["mechanism", "here", "holds off"]]
    for one in mechanisms:
        here = "works" if one.works else "missing"
        rows.append(
            [one.name, f"{here} ({one.found})" if one.found else here, one.holds]
        )
    repairs: dict[str, list[str]] = {}
    for one in mechanisms:
        if not one.works:
            repairs.setdefault(one.repair, []).append(one.name)
    lines = [
        f"To have {', '.join(names)}: {repair}." for repair, names in repairs.items()
    ]
    return "\n\n".join([_aligned(rows, right=set()), *lines])


def trials_table(trials: Sequence[Trial], champion: Trial | None) -> str:
    """Return one line a trial, the best one marked."""
    if not trials:
        return "no finished trials yet"
    score_of = shown_scores(trials)
    rows = [["trial", "", "score", "parent", "source", "seconds", "feedback"]]
    for trial in trials:
        score = score_of.get(trial.number, trial.status.value)
        said = (
            one_line(trial.feedback, 70)
            if trial.status is Status.COMPLETE
            else describe_failure(trial)
        )
        parent = "" if trial.parent is None else str(trial.parent)
        mark = "*" if champion is not None and trial.number == champion.number else ""
        source = one_line(trial.source, 30)
        rows.append(
            [
                str(trial.number),
                mark,
                score,
                parent,
                source,
                f"{trial.seconds:.2f}",
                one_line(said, 70),
            ]
        )
    return _aligned(rows, right={0, 2, 3, 5})


def spending(run: RunView, uncertain: Sequence[tuple[int, int]]) -> str:
    """Return what the model calls of a run used, and which calls nobody knows the price of."""
    usage = run.usage
    if not usage.calls and not uncertain:
        return ""
    cost = "price unknown" if usage.cost_usd is None else amount("usd", usage.cost_usd)
    lines = [
        f"{amount('calls', usage.calls)} model calls, {amount('tokens', usage.tokens)} tokens, {cost}"
    ]
    if usage.uncertain_calls:
        lines.append(
            f"up to {usage.uncertain_calls} more requests brought no whole answer, and may be billed"
        )
    if uncertain:
        places = ", ".join(
            f"call {index + 1} of trial {trial}" for trial, index in uncertain
        )
        lines.append(
            f"uncertain, since it was on the wire at a kill, and may be billed: {one_line(places, 200)}"
        )
    return "\n".join(lines)


def _aligned(rows: Sequence[Sequence[str]], right: set[int]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = (
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def trial_page(trial: Trial, parent: Trial | None, calls: Sequence[Call]) -> str:
    """Return all that is known of one trial."""
    score = "no score" if trial.score is None else f"score {show_number(trial.score)}"
    built_on = "" if trial.parent is None else f", built on trial {trial.parent}"
    error = (
        ""
        if trial.standard_error is None
        else f" +- {trial.standard_error:.2g} ({trial.scorings} scorings)"
    )
    stage = f", not through the stage {trial.stage}" if trial.stage else ""
    what = f"{trial.status.value}{stage}, {score}{error}"
    head = f"trial {trial.number}: {what}, by {trial.source}{built_on}, {trial.seconds:.2f} s"
    parts = [(head, ""), ("x", "(none)" if trial.x is None else show_x(trial.x))]
    if parent is not None and parent.x is not None and trial.x is not None:
        names = f"trial {parent.number}", f"trial {trial.number}"
        parts.append(
            (
                "difference to its parent",
                unified_diff(show_x(parent.x), show_x(trial.x), *names),
            )
        )
    parts += [
        ("feedback", trial.feedback),
        ("output", trial.output),
        ("lesson", trial.lesson),
    ]
    decided = ", ".join(
        f"{name} {value}" for name, value in trial.decision.items() if value is not None
    )
    parts.append(("decision of the gate", decided))
    for call in calls:
        prompt = "\n".join(
            f"[{message['role']}]\n{message['content']}" for message in call.messages
        )
        answer = call.reply.text if call.reply else call.error or "(no answer arrived)"
        parts += [
            (f"prompt {call.index + 1} to {call.model}", prompt),
            (f"reply {call.index + 1}", answer),
        ]
    return "\n\n".join(
        _section(title, body) for title, body in parts if body or title == head
    )


def _section(title: str, body: str) -> str:
    return visible(f"== {title}\n{body}" if body else title)
