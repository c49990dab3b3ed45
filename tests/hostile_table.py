"""Write the table of docs/sandbox.md: each hostile program at each level, as it comes out here (`make table`)."""

import contextlib
import os
import socket
import sys
import tempfile
from pathlib import Path

from candidates import load_and_call
from llm_optimize.records import Limits
from llm_optimize.sandbox import Call as SandboxCall
from llm_optimize.sandbox import Outcome, OutcomeStatus, open_sandbox

DOCS = Path(__file__).parents[1] / "docs" / "sandbox.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"
LEVELS = ("process", "namespace")


def word(outcome: Outcome, honest: float | None = None) -> str:
    """Return what an outcome means in the table."""
    if outcome.status is not OutcomeStatus.OK:
        return f"stopped: {outcome.status}"
    if honest is not None:
        return "works" if outcome.value == honest else "broken"
    if not isinstance(outcome.value, float) or outcome.value != outcome.value or outcome.value in (0.0, float("inf")):
        return "contained"
    return "not promised"


def rows(text: str) -> dict[str, list[str]]:
    """Return the cells of the table by the name of the program."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip("`"): cells[1:] for cells in lines}


def table_in(page: str) -> str:
    return page[page.index(BEGIN) + len(BEGIN) : page.index(END)]


def main() -> None:
    import test_sandbox_hostile as hostile

    with tempfile.TemporaryDirectory() as folder, socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(tcp.getsockname())
        os.chdir(folder)
        found = {level: words(hostile, level, float(tcp.getsockname()[1])) for level in LEVELS}
    lines = ["| program | `process`, Landlock, `network=False` | `namespace` |", "|---|---|---|"]
    for name in sorted(hostile.EXPECTED):
        lines.append(f"| `{name}` | {found['process'][name]} | {found['namespace'][name]} |")
    page = DOCS.read_text(encoding="utf-8")
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    DOCS.write_text(page[:begin] + "\n" + "\n".join(lines) + "\n\n" + page[end:], encoding="utf-8")
    sys.stdout.write("\n".join(lines) + "\n")


def words(hostile, level: str, port: float) -> dict[str, str]:
    limits = Limits(network=False, memory_mb=1024, processes=64, file_mb=16, scratch_mb=256, output_mb=4, result_mb=1)
    found = {}
    with contextlib.closing(open_sandbox(level, load_and_call, limits)) as sandbox:
        for name, expected in sorted(hostile.EXPECTED.items()):
            source = (hostile.HOSTILE / f"{name}.py").read_text(encoding="utf-8")
            argument = port if name == "55-network-egress" else 3.0
            limit_secs = 0.7 if OutcomeStatus.TIMEOUT in expected else 8.0
            outcome = sandbox.run(SandboxCall([source, argument], limit_secs))
            found[name] = word(outcome, hostile.HONEST.get(name))
    return found


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
