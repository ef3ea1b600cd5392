"""What must be true at the end. Each check says what it found, or raises DemoFailed."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from io import BytesIO
from pathlib import Path

from PIL import Image

from examples.demo.failure import DemoFailed
from examples.demo.runs import Run
from examples.shop import database, images, inbox
from examples.shop.catalogue import Chunk, read
from examples.shop.executions import Execution, executions


def check_mail(folder: Path, to: str, subjects: Sequence[str], apart: timedelta) -> str:
    """subjects: all there should be, from the welcome to the follow-up."""
    mail = inbox.messages(folder)
    found = [(message["To"], message["Subject"]) for message in mail]
    expect(
        found == [(to, subject) for subject in subjects],
        f"the inbox should hold {subjects} for {to}: {found}",
    )
    arrivals = [int(path.stem) for path in sorted(folder.glob("*.eml"))]
    waited = timedelta(microseconds=(arrivals[-1] - arrivals[0]) / 1000)
    expect(
        waited >= apart,
        f"the follow-up came {waited} after the welcome, too early: {apart} was asked for",
    )
    return (
        f"exactly one welcome, one confirmation and one follow-up for {to}, the last"
        f" {waited.total_seconds():.2f} s after the first"
    )


def check_payment(order_id: str, cents: int, after: timedelta) -> str:
    found = database.find_payments(order_id)
    expect([paid for paid, _ in found] == [cents], f"{cents} should be paid once: {found}")
    waited = timedelta(seconds=found[0][1] - database.find_order(order_id).created_at.timestamp())
    expect(waited >= after, f"paid {waited} after the order, too early: {after} was asked for")
    return f"the order is paid, once, {waited.total_seconds():.2f} s after it was placed"


def check_notifications(order_id: str) -> str:
    found = [message for message in database.notifications() if order_id in message]
    expect(len(found) == 1, f"the people in the shop should know of order {order_id}: {found}")
    return f'the people in the shop were told: "{found[0]}"'


def check_pdf(what: str, content: bytes, pages: int) -> str:
    expect(
        content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF"),
        f"the {what} is no whole PDF: {content[:20]!r} … {content[-20:]!r}",
    )
    found = content.count(b"/Type /Page\n")
    expect(found == pages, f"the {what} has {found} pages, not {pages}")
    return f"the {what} is a PDF with {pages} page{'s' if pages > 1 else ''}"


def check_rows(csv: Path, rows: int, said: int) -> str:
    """said: how many the job's result speaks of."""
    expected = sum(product.price_cents for product in read(str(csv), Chunk(0, rows, _body(csv))))
    found, cents = database.count_products()
    expect(found == rows, f"the database holds {found:,} products, not {rows:,}")
    expect(
        cents == expected,
        f"the prices in the database add up to {cents}, those in the file to {expected}",
    )
    expect(said == rows, f"the job's result speaks of {said:,} rows, not {rows:,}")
    return f"{found:,} rows in the database, each once; the prices add up to those of the file"


def check_thumbnails(found: Mapping[str, bytes], pictures: int) -> str:
    """found: content, by path."""
    sizes = Counter(Image.open(BytesIO(content)).size for content in found.values())
    expected = {images.THUMBNAIL: pictures, images.COVER: 1}
    expect(sizes == expected, f"the album should hold {expected}: {dict(sizes)}")
    for content in found.values():
        Image.open(BytesIO(content)).load()
    return f"{pictures} thumbnails and a cover, all whole and of the right size"


def check_runs(runs: Sequence[Run]) -> str:
    for run in runs:
        expect(run.status == "completed", f"run {run.id} of {run.function} is {run.status}")
        for step in run.steps:
            expect(step.status == "completed", f"step {step.id} of {run.function} is {step.status}")
    return f"{len(runs)} runs, each of them completed"


def check_steps(runs: Sequence[Run], kept_at_kill: set[tuple[str, str]]) -> str:
    """No step whose result was kept executed again.

    kept_at_kill: run and step, as errands had them when the shop was dead.
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
        expect(
            key not in kept_at_kill or len({execution.pid for execution in times}) == 1,
            f"step {key} was kept before the kill, yet executed again: {times}",
        )
        most = max(Counter((execution.pid, execution.attempt) for execution in times).values())
        expect(most == 1, f"one process executed one attempt of step {key} twice: {times}")
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
