"""What must be true at the end. Each check says what it found, or raises DemoFailed."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from PIL import Image

from examples.demo.failure import DemoFailed
from examples.demo.runs import Run
from examples.shop import database, images, inbox
from examples.shop.app import Imported
from examples.shop.catalogue import Chunk, read
from examples.shop.executions import Execution, executions


def check_mail(folder: Path, to: str, subjects: Sequence[str], apart: timedelta) -> str:
    mail = inbox.messages(folder)
    found = [(message["To"], message["Subject"]) for message in mail]
    expect(
        found == [(to, subject) for subject in subjects],
        f"the inbox should hold {subjects} for {to}: {found}",
    )
    first, second = (int(path.stem) for path in sorted(folder.glob("*.eml")))
    waited = timedelta(microseconds=(second - first) / 1000)
    expect(
        waited >= apart,
        f"the follow-up came {waited} after the welcome, too early: {apart} was asked for",
    )
    return f"exactly one welcome and one follow-up for {to}, {waited.total_seconds():.2f} s apart"


def check_rows(csv: Path, rows: int, imported: Imported) -> str:
    expected = sum(product.price_cents for product in read(str(csv), Chunk(0, rows, _body(csv))))
    found, cents = database.count_products()
    expect(found == rows, f"the database holds {found:,} products, not {rows:,}")
    expect(
        cents == expected,
        f"the prices in the database add up to {cents}, those in the file to {expected}",
    )
    expect(
        imported.rows == rows, f"the job's result speaks of {imported.rows:,} rows, not {rows:,}"
    )
    return f"{found:,} rows in the database, each once; the prices add up to those of the file"


def check_pictures(pictures: Sequence[str]) -> str:
    album = Path(pictures[0]).parent
    expected: dict[str, tuple[int, int]] = dict.fromkeys(pictures, images.THUMBNAIL)
    expected[str(Path(pictures[0]).with_stem("cover"))] = images.COVER
    found: dict[str, tuple[int, int]] = {}
    for path in sorted((images.thumbnails() / album).iterdir()):
        with Image.open(path) as image:
            image.load()
            found[str(path.relative_to(images.thumbnails()))] = image.size
    expect(found == expected, f"the thumbnails should be {expected}: {found}")
    return f"{len(pictures)} thumbnails and a cover, all of the right size"


def check_runs(runs: Sequence[Run]) -> str:
    for run in runs:
        expect(run.status == "completed", f"run {run.id} of {run.function} is {run.status}")
        for step in run.steps:
            expect(step.status == "completed", f"step {step.id} of {run.function} is {step.status}")
    return f"{len(runs)} runs, each of them completed"


def check_steps(runs: Sequence[Run], kept_at_kill: set[tuple[str, str]], restarted_at: int) -> str:
    """No step whose result was kept executed again.

    kept_at_kill: run and step, as errands had them when the worker was dead; restarted_at: Unix ms.
    """
    log: dict[tuple[str, str], list[Execution]] = defaultdict(list)
    for execution in executions():
        log[execution.run_id, execution.step_id].append(execution)
    steps = {(run.id, step.id): step for run in runs for step in run.steps}
    stray = log.keys() - steps.keys()
    expect(not stray, f"executed, but errands does not know of it: {stray}")
    for key, times in log.items():
        finished_at = steps[key].finished_at
        assert finished_at is not None
        late = [execution for execution in times if execution.started_at > finished_at]
        expect(not late, f"step {key} executed after its result was kept at {finished_at}: {late}")
        again = [execution for execution in times if execution.started_at >= restarted_at]
        expect(
            key not in kept_at_kill or not again,
            f"step {key} was kept before the kill, yet executed again: {again}",
        )
        most = max(Counter((execution.pid, execution.attempt) for execution in times).values())
        expect(most == 1, f"one worker executed one attempt of step {key} twice: {times}")
    repeated = sum(len(times) > 1 for times in log.values())
    return (
        f"{len(log)} steps executed, {len(kept_at_kill & log.keys())} of them kept before the kill:"
        f" no kept step executed again ({repeated} did whose result the kill had lost)"
    )


def expect(truth: bool, otherwise: str) -> None:
    if not truth:
        raise DemoFailed(otherwise)


def _body(csv: Path) -> int:
    """Where the rows begin: after the header."""
    with csv.open("rb") as file:
        return len(file.readline())
