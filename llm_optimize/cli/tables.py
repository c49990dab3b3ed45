"""Tables and pages of text for a terminal, and JSON for programs.

What candidates, models and users wrote is shown so that nothing in it can move the cursor.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from ..records import Status, Trial, describe_failure
from ..text import one_line, plain, show_number, show_x, unified_diff, visible
from ..watch.amounts import amount
from ..watch.rendering import shown_scores

if TYPE_CHECKING:
    from ..sandbox import Mechanism
    from ..store import Call
    from ..watch.run_view import RunView


def as_json(value: Any) -> str:
    """Return records as JSON; NaN, which JSON does not have, becomes null."""
    return json.dumps(plain(value), indent=2)


def mechanisms_table(mechanisms: Sequence[Mechanism]) -> str:
    """Return a line per mechanism of the sandbox, then how to get those that are missing."""
    rows = [["mechanism", "here", "holds off"]]
    missing: dict[str, list[str]] = {}  # the names by what repairs them
    for mechanism in mechanisms:
        here = "works" if mechanism.works else "missing"
        if mechanism.found:
            here += f" ({mechanism.found})"
        rows.append([mechanism.name, here, mechanism.holds])
        if not mechanism.works:
            missing.setdefault(mechanism.repair, []).append(mechanism.name)
    paragraphs = [aligned(rows, right=())]
    for repair, names in missing.items():
        paragraphs.append(f"To have {', '.join(names)}: {repair}.")
    return "\n\n".join(paragraphs)


def trials_table(trials: Sequence[Trial], champion: Trial | None) -> str:
    """Return a table with one line per trial, the best one marked."""
    if not trials:
        return "no finished trials yet"
    score_of = shown_scores(trials)
    best = None if champion is None else champion.number
    rows = [["trial", "", "score", "parent", "source", "seconds", "feedback"]]
    for trial in trials:
        feedback = trial.feedback
        if trial.status is not Status.COMPLETE:
            feedback = describe_failure(trial)
        row = [
            str(trial.number),
            "*" if trial.number == best else "",
            score_of.get(trial.number, trial.status.value),
            "" if trial.parent is None else str(trial.parent),
            one_line(trial.source, 30),
            f"{trial.seconds:.2f}",
            one_line(feedback, 70),
        ]
        rows.append(row)
    return aligned(rows, right={0, 2, 3, 5})


def aligned(rows: Sequence[Sequence[str]], right: Collection[int]) -> str:
    """Return the rows as lines; the columns of `right` are flush right, others flush left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = []
        for column, (cell, width) in enumerate(zip(row, widths, strict=True)):
            flush = cell.rjust if column in right else cell.ljust
            cells.append(flush(width))
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def spending(run: RunView, uncertain: Sequence[tuple[int, int]]) -> str:
    """Return what the model calls of a run used; "" where it made none.

    Args:
        run: with the usage that the endpoint reported.
        uncertain: trial and index of the calls that were in flight when the process was killed.
    """
    usage = run.usage
    if not usage.calls and not uncertain:
        return ""
    calls, tokens = amount("calls", usage.calls), amount("tokens", usage.tokens)
    cost = "price unknown"
    if usage.cost_usd is not None:
        cost = amount("usd", usage.cost_usd)
    lines = [f"{calls} model calls, {tokens} tokens, {cost}"]
    if usage.uncertain_calls:
        lines.append(
            f"up to {usage.uncertain_calls} more requests brought no complete answer, "
            "and may be billed"
        )
    if uncertain:
        places = []
        for trial, index in uncertain:
            places.append(f"call {index + 1} of trial {trial}")
        lines.append(
            "in flight when the process was killed, and may be billed: "
            + one_line(", ".join(places), 200)
        )
    return "\n".join(lines)


def trial_page(trial: Trial, parent: Trial | None, calls: Sequence[Call]) -> str:
    """Return all that is known of one trial, as sections with titles."""
    x = "(none)" if trial.x is None else show_x(trial.x)
    decision = []
    for name, value in trial.decision.items():
        if value is not None:
            decision.append(f"{name} {value}")
    sections = [
        ("x", x),
        ("difference from its parent", _difference(trial, parent)),
        ("feedback", trial.feedback),
        ("output", trial.output),
        ("lesson", trial.lesson),
        ("decision of the gate", ", ".join(decision)),
    ]
    for call in calls:
        number = call.index + 1
        sections.append((f"prompt {number} to {call.model}", _prompt(call)))
        sections.append((f"reply {number}", _reply(call)))
    blocks = [visible(_headline(trial))]
    for title, body in sections:
        if body:
            blocks.append(visible(f"== {title}\n{body}"))
    return "\n\n".join(blocks)


def _headline(trial: Trial) -> str:
    words = f"trial {trial.number}: {trial.status.value}"
    if trial.stage:
        words += f" (stopped at the stage {trial.stage})"
    if trial.score is None:
        words += ", no score"
    else:
        words += f", score {show_number(trial.score)}"
    if trial.standard_error is not None:
        words += f" +- {trial.standard_error:.2g} ({trial.scorings} scorings)"
    words += f", by {trial.source}"
    if trial.parent is not None:
        words += f", built on trial {trial.parent}"
    return f"{words}, {trial.seconds:.2f} s"


def _difference(trial: Trial, parent: Trial | None) -> str:
    if parent is None or parent.x is None or trial.x is None:
        return ""
    old, new = show_x(parent.x), show_x(trial.x)
    return unified_diff(old, new, f"trial {parent.number}", f"trial {trial.number}")


def _prompt(call: Call) -> str:
    messages = []
    for message in call.messages:
        messages.append(f"[{message['role']}]\n{message['content']}")
    return "\n".join(messages)


def _reply(call: Call) -> str:
    if call.reply:
        return call.reply.text
    return call.error or "(no answer arrived)"
