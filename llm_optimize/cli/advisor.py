"""The commands of the advisor: `llm-optimize ridge-exp` and `generate-models`."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

import llm_optimize

from ..automl.advisor.flags import flags_of
from ..automl.advisor.options import GenerateOptions, RidgeOptions
from .common import FAILED

Command = Callable[..., None]


def with_flags_of(options: type[Any]) -> Callable[[Command], Command]:
    """Return a decorator that gives a command, which takes `**given`, the flags of a record."""
    parameters = []
    for one in flags_of(options):
        kind: Any = one.kind
        if one.default is None:
            kind = kind | None
        parameters.append(
            inspect.Parameter(
                one.name,
                inspect.Parameter.KEYWORD_ONLY,
                default=one.default,
                annotation=Annotated[kind, typer.Option(*one.words, help=one.help)],
            )
        )

    def decorate(command: Command) -> Command:
        signature = inspect.Signature(parameters)
        command.__signature__ = signature  # type: ignore[attr-defined]
        return command

    return decorate


@with_flags_of(RidgeOptions)
def ridge_exp(**given: Any) -> None:
    """Test whether a model chooses good ridge penalties, on synthetic tasks with known errors."""
    findings = llm_optimize.automl.ridge.run(RidgeOptions(**given))
    typer.echo(findings.table)
    if findings.problem:
        typer.echo(findings.problem, err=True)
        raise typer.Exit(FAILED)


@with_flags_of(GenerateOptions)
def generate_models(**given: Any) -> None:
    """Recommend ten configurations of tabular models for a task, in one call of a model."""
    generated = llm_optimize.automl.advisor.generate(GenerateOptions(**given))
    typer.echo(generated.text())
