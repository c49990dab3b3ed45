"""Builders of what many tests need: finished trials, and runs in a store that hold them."""

from llm_optimize.records import Plan, Proposal, Status, Trial


def complete_trial(number, score, **more):
    """Return a trial with a score; its x is "x0", "x1", ..."""
    return Trial.of(number, f"x{number}", Status.COMPLETE, "x0", score, **more)


def write_finished(run, trial, order, plan=None):
    """Write all steps of a finished trial into a run that is open for writing."""
    run.plan(trial.number, plan or Plan(None))
    run.propose(trial.number, Proposal(trial.x, trial.source, trial.usage))
    run.finish(trial, order)
