"""Proposers for the tests of gates: they write what they are given, and remember what they were
told."""

import asyncio
from random import Random

from llm_optimize.propose.gates import AdaptiveRule, FixedAlphaRule, Gate
from llm_optimize.records import Plan, Proposal, Reply, Status, Trial, Usage


class Writer:
    """A proposer that writes what it is given, and remembers what it was told."""

    def __init__(self, source, x=None, error=None, asks=0):
        self.source, self.x, self.error, self.asks = (
            source,
            x or {"a": 0.5},
            error,
            asks,
        )
        self.told, self.asked = [], 0

    async def propose(self, plan, ask, rng):
        self.asked += 1
        usage = Usage()
        for _ in range(self.asks):
            usage += (await ask([{"role": "user", "content": "x?"}])).usage
        if isinstance(self.error, Exception):
            raise self.error
        if self.error:
            return Proposal(None, self.source, usage, problem=self.error)
        return Proposal(
            {**self.x, "dice": rng.random()} if "dice" in self.x else dict(self.x),
            self.source,
            usage,
        )

    def observe(self, trial):
        self.told.append(trial)


def adaptive_gate(model, other, **options):
    return Gate(model, other, AdaptiveRule(**options))


def fixed_alpha_gate(model, other, **options):
    return Gate(model, other, FixedAlphaRule(**options))


async def answer(messages):
    return Reply("hm", Usage(1, 10, 2, cost_usd=0.25), "m")


def ask(gate, number=0, seed=1):
    return asyncio.run(
        gate.propose(Plan(None), answer, Random(f"{seed}/propose/{number}"))
    )


def finished(number, proposal, score, status=Status.COMPLETE):
    return Trial.of(
        number,
        proposal.x,
        status,
        proposal.source,
        score=score,
        decision=proposal.decision,
    )


def live(gate, scores, first=0):
    """Live through trials with these scores, None for a failed one; return who proposed each."""
    who = []
    for number, score in enumerate(scores, first):
        proposal = ask(gate, number)
        who.append(proposal.decision["who"])
        gate.observe(
            finished(
                number,
                proposal,
                score,
                Status.COMPLETE if score is not None else Status.FAILED,
            )
        )
    return who
