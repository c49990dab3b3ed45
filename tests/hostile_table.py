"""Run the hostile programs at each level, in each way, as user and as root, and write the table of docs/sandbox.md.

`make table` runs all of it; `make table ARGS="--only 75 77 --level process --way one --user root"` shows a part, and
writes nothing.
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
from hostile.table import DOCS, cells, lines, record, with_table, words_of


def main() -> int:
    arguments = parse()
    programs = [one for one in load().values() if not arguments.only or one.name.split("-")[0] in arguments.only]
    asked = zip((arguments.level, arguments.way, arguments.user), (LEVELS, WAYS, USERS), strict=True)
    whole = not arguments.only and all(set(some) == set(every) for some, every in asked)
    chosen = [
        cell
        for cell in cells()
        if cell.level in arguments.level and cell.way in arguments.way and cell.who in arguments.user
    ]
    found: list[Result] = []
    begun = time.monotonic()
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for cell, results in zip(chosen, pool.map(lambda cell: run_cell(cell, programs), chosen), strict=True):
            found += results
            held = sum(one.held for one in results)
            print(f"{cell.level:9} {cell.way:6} {cell.who:4} {held} of {len(results)} held", flush=True)
            print(*(f"    {one.program}: {one.word}: {one.reason}" for one in results if not one.held), sep="\n")
    print(f"{len(found)} runs in {time.monotonic() - begun:.0f} s")
    broken = [one for one in found if one.word == "broken"]
    if whole and not broken:
        words = words_of(one for one in found if one.program != "the end")
        record(words)
        DOCS.write_text(with_table(DOCS.read_text(encoding="utf-8"), lines(words)), encoding="utf-8")
        print(f"written to {DOCS.name}")
    return 1 if broken else 0


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
