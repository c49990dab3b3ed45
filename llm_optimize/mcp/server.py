"""The command `llm-optimize mcp`: runs as tools for coding agents, by the Model Context Protocol on stdio.

An agent starts only tasks that a human has named with --allow. Runs go on in the background, each in a process of its
own; they end with the server, and everything is kept, so that `resume_run` goes on with them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import llm_optimize

from ..errors import LlmOptimizeError, MissingExtra
from . import answers
from .allowed import Allowed
from .parameters import TOOLS
from .tools import Tools, described

if TYPE_CHECKING:
    import mcp_types as protocol
    from mcp.server import Server

_log = logging.getLogger(__name__)
_INSTRUCTIONS = """\
Optimize a text, a program or parameters: a chat model (or random mutation) writes candidates x, and the user's own
Python function f scores them; higher is better. A human decides which tasks there are, which code scores them, where it
runs and what it may cost: list_tasks shows them. Begin with start_run, look with follow_run until the state is "ended",
take the result with best_of_run. Runs go on in the background, are stored, and can be resumed."""


def serve(store: str, allow: Sequence[Path], at_a_time: int) -> None:
    """Serve one agent until it closes standard input, then end the runs that it started.

    Args:
        store: the database of the runs.
        allow: TASK.toml files that agents may start, or folders of them.
        at_a_time: how many runs may go on at once.

    Raises MissingExtra where the SDK is not installed, and what `AllowedTasks` raises.
    """
    tools = Tools(store, Allowed(allow), at_a_time)
    try:
        made = server(tools)
    except ImportError as error:
        raise MissingExtra(
            'llm-optimize mcp needs the SDK: pip install "llm_optimize[mcp]"'
        ) from error

    def terminated(number: int, frame: object) -> None:
        tools.jobs.interrupt()
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, terminated)
    asyncio.run(_serve(made))


def server(tools: Tools) -> Server[None]:
    """Return the server with its tools; at its end the runs that it started are stopped.

    It is the SDK's lower level, which hands over arguments as they were sent. The upper one reads each text that looks
    like JSON as JSON, so that x0 "[5, 3]" would arrive as a list, and leaves unknown arguments aside without a word.
    """
    import mcp_types as types
    from mcp.server import Server

    @asynccontextmanager
    async def lifespan(_: Server[None]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            tools.jobs.close()

    async def list_tools(_: Any, __: Any) -> protocol.ListToolsResult:
        return types.ListToolsResult(tools=[_declared(name) for name in TOOLS])

    async def call_tool(
        _: Any, call: protocol.CallToolRequestParams
    ) -> protocol.CallToolResult:
        text, failed = await _answer(tools, call.name, call.arguments or {})
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=text)], is_error=failed
        )

    return Server(
        "llm-optimize",
        version=llm_optimize.__version__,
        instructions=_INSTRUCTIONS,
        lifespan=lifespan,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _declared(name: str) -> protocol.Tool:
    import mcp_types as types

    facts = TOOLS[name]
    hints = types.ToolAnnotations(
        title=facts.title,
        read_only_hint=facts.read_only,
        destructive_hint=False,  # nothing is ever deleted
        idempotent_hint=facts.idempotent,
        open_world_hint=facts.open_world,
    )
    return types.Tool(
        name=name,
        title=facts.title,
        description=described(name),
        input_schema=facts.schema(),
        annotations=hints,
    )


async def _answer(
    tools: Tools, tool: str, arguments: dict[str, Any]
) -> tuple[str, bool]:
    """Return what a tool says, and whether that is an error; an agent never reads a traceback."""
    try:
        return answers.written(await tools.call(tool, arguments)), False
    except LlmOptimizeError as error:
        return answers.sentence(error), True
    except Exception:  # the SDK would send its text to the agent
        _log.exception("the tool %s failed", tool)
        return (
            f"{tool} failed by a fault of this server: its log, the standard error, says for a human why",
            True,
        )


async def _serve(made: Server[None]) -> None:
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (received, sent):
        await made.run(received, sent, made.create_initialization_options())
