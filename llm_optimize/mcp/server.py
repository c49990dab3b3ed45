"""The server itself: tools and answers by the Model Context Protocol, on standard input and output.

An agent starts only tasks that a human named with --allow. Runs are processes of their own; they
end with the server. Everything is stored, so that `resume_run` continues them.
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

from .. import __version__
from ..errors import LlmOptimizeError, require
from . import answers
from .allowed import AllowedTasks
from .parameters import TOOLS
from .tools import Tools, description_of

if TYPE_CHECKING:
    import mcp_types as protocol
    from mcp.server import Server

_log = logging.getLogger(__name__)
_INSTRUCTIONS = """\
Optimize a text, a program or parameters: a chat model (or random mutation) writes candidates x, \
and the user's own Python function f scores them. A human decides which tasks there are, which \
code scores them, where it runs and what it may cost: list_tasks shows them. \
Begin with start_run, watch with follow_run until the state is "finished", take the result with \
best_of_run. Runs go on in the background, are stored, and can be resumed."""

_SEE_LOG = "a human finds the reason in its log, which is its standard error"


def serve(store: str, allow: Sequence[Path], at_a_time: int) -> None:
    """Serve one agent until it closes standard input, then end the runs that it started.

    Args:
        store: the database of the runs.
        allow: TASK.toml files that agents may start, or folders of them.
        at_a_time: how many runs may go on at once.

    Raises MissingExtra where the SDK is not installed, and what `AllowedTasks` raises.
    """
    require("mcp", needed_by="llm-optimize mcp")
    tools = Tools(store, AllowedTasks(allow), at_a_time)

    # SIGTERM must end the runs, too: they are in sessions of their own and would outlive the
    # server. An ordinary exit would wait for the thread in which the SDK reads standard input.
    def on_terminate(number: int, frame: object) -> None:
        tools.jobs.interrupt()
        os._exit(128 + number)

    signal.signal(signal.SIGTERM, on_terminate)
    asyncio.run(_serve(make_server(tools)))


async def _serve(server: Server[None]) -> None:
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (received, sent):
        await server.run(received, sent, server.create_initialization_options())


def make_server(tools: Tools) -> Server[None]:
    """Return the server with its tools; at its end the runs that it started are stopped.

    It is the SDK's lower level, which hands over arguments as they were sent. The upper level
    reads each text that looks like JSON as JSON, so that x0 "[5, 3]" would arrive as a list, and
    drops unknown arguments silently.
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
        return types.ListToolsResult(tools=[_declaration(name) for name in TOOLS])

    async def call_tool(
        _: Any, call: protocol.CallToolRequestParams
    ) -> protocol.CallToolResult:
        text, failed = await _answer(tools, call.name, call.arguments or {})
        content = types.TextContent(type="text", text=text)
        return types.CallToolResult(content=[content], is_error=failed)

    return Server(
        "llm-optimize",
        version=__version__,
        instructions=_INSTRUCTIONS,
        lifespan=lifespan,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _declaration(name: str) -> protocol.Tool:
    """Return a tool as the protocol declares it."""
    import mcp_types as types

    tool = TOOLS[name]
    hints = types.ToolAnnotations(
        title=tool.title,
        read_only_hint=tool.read_only,
        destructive_hint=False,  # nothing is ever deleted
        idempotent_hint=tool.idempotent,
        open_world_hint=tool.open_world,
    )
    return types.Tool(
        name=name,
        title=tool.title,
        description=description_of(name),
        input_schema=tool.schema(),
        annotations=hints,
    )


async def _answer(
    tools: Tools, tool: str, arguments: dict[str, Any]
) -> tuple[str, bool]:
    """Return the answer of a tool, and whether it is an error; never a traceback."""
    try:
        answer = await tools.call(tool, arguments)
        return answers.as_json(answer), False
    except LlmOptimizeError as error:
        return answers.sentence(error), True
    except Exception:  # the SDK would send its text to the agent
        _log.exception("the tool %s failed", tool)
        return f"{tool} failed by a bug of this server; {_SEE_LOG}", True
