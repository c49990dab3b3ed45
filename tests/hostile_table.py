"""Run the hostile programs at each level and in each way, and write the table of docs/sandbox.md.

`make table` runs all of it; `make table ARGS="--only 75 77 --level process --way one --user root"`
runs a part and leaves the rest as it was recorded.
"""

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from hostile.jail import users
from hostile.matrix import AT_A_TIME, Result, run_cell
from hostile.programs import HOSTILE, LEVELS, USERS, WAYS, load
from hostile.table import DOCS, cells, lines, record, recorded, with_table


def main() -> int:
    arguments = parse()
    programs = [
        one
        for one in load().values()
        if not arguments.only or one.name.split("-")[0] in arguments.only
    ]
    levels, ways, whos = arguments.level, arguments.way, arguments.user
    chosen = [
        cell
        for cell in cells()
        if cell.level in levels and cell.way in ways and cell.who in whos
    ]
    found: list[Result] = []
    begun = time.monotonic()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for cell, results in zip(
            chosen, pool.map(lambda cell: run_cell(cell, programs), chosen), strict=True
        ):
            found += results
            held = sum(one.held for one in results)
            print(
                f"{cell.level:9} {cell.way:6} {cell.who:4} {held} of {len(results)} held",
                flush=True,
            )
            for one in results:
                if not one.held:
                    print(f"    {one.program}: {one.word}: {one.reason}", flush=True)
            record(results)
    print(f"{len(found)} runs in {time.monotonic() - begun:.0f} s")
    DOCS.write_text(
        with_table(DOCS.read_text(encoding="utf-8"), lines(recorded())),
        encoding="utf-8",
    )
    return 1 if any(one.word == "broken" for one in found) else 0


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="numbers of programs")
    parser.add_argument("--level", nargs="*", default=list(LEVELS), choices=LEVELS)
    parser.add_argument("--way", nargs="*", default=list(WAYS), choices=WAYS)
    parser.add_argument("--user", nargs="*", default=list(USERS), choices=USERS)
    arguments = parser.parse_args()
    if not HOSTILE.is_dir():
        parser.error(f"no hostile programs lie in {HOSTILE}")
    if missing := [who for who in arguments.user if who not in users()]:
        parser.error(f"only root can play {missing}: take --user {' '.join(users())}")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
