"""python -m tests.simulation --seeds N --from S, or one seed again with its trace: --only S"""

import argparse
import sys
import time

from tests.simulation.simulate import simulate

FAILED_MAX = 20
"""More failing seeds than this say nothing new."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="./script/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many (default: 1000)")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed")
    parser.add_argument("--only", type=int, help="this seed alone, telling all that happens")
    parser.add_argument("--quiet", action="store_true", help="with --only: just the verdict")
    given = parser.parse_args()
    if given.only is not None:
        verdict = simulate(given.only, None if given.quiet else print)
        print(*verdict.violations or ["no promise broken"], sep="\n")
        print(f"trace {verdict.digest}, {verdict.commits} commits, {verdict.runs} runs")
        return 1 if verdict.violations else 0
    began, failed, runs, count = time.monotonic(), list[int](), 0, 0
    for seed in range(given.first, given.first + given.seeds):
        verdict = simulate(seed)
        runs, count = runs + verdict.runs, count + 1
        if verdict.violations:
            failed.append(seed)
            print(f"seed {seed}: {verdict.violations[0]}")
            print(f"  again: ./script/simulate --only {seed}", flush=True)
            if len(failed) == FAILED_MAX:
                break
    seconds = time.monotonic() - began
    print(
        f"{count} seeds, {runs:,} runs, {seconds:.1f} s ({count / seconds:.1f}/s), "
        f"{len(failed)} failed"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
