"""The demo's story: customers use a shop, and the shop dies in the middle of it."""

import asyncio
import math
import os
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from examples.demo import checks
from examples.demo.customer import Customer, Status
from examples.demo.failure import DemoFailed
from examples.demo.runs import Follower, Operator, Run, Step
from examples.demo.screen import Screen
from examples.demo.shop import Shop
from examples.shop import catalogue, executions, images, inbox, mail, settings

ADA = "ada@example.com"
THINGS = {"lamp": 2, "vase": 1}
ROWS = 100_000
PICTURES = 36
ALBUM_AT, KILL_AT = 30, 45
"""Percent of the import at which the album is made, and at which the shop is killed."""
PAYMENT_AFTER = timedelta(seconds=5)
WHO = {
    "send_welcome_email": "sign-up",
    "confirm_order": "order",
    "process_payment": "order",
    "generate_invoice": "order",
    "import_csv": "import",
    "process_album": "album",
    "generate_report": "report",
}


class Story:
    """Plays it. The demo's own process is the customer: all it does is to send requests."""

    def __init__(
        self,
        screen: Screen,
        shop: Shop,
        customer: Customer,
        operator: Operator,
        folder: Path,
        followup: timedelta,
    ) -> None:
        """folder: where to keep what it makes; followup: what the "3 days" are shortened to."""
        self.screen, self.shop, self.customer = screen, shop, customer
        self.inbox = folder / "inbox"
        self.csv = folder / "products.csv"
        self.camera = folder / "camera"
        self.followup = followup
        self.follower = Follower(operator, self.tell_steps)
        self.jobs: dict[str, str] = {}
        """Ids, by what they do."""
        self.order = self.album = ""
        self.kept_at_kill: set[tuple[str, str]] = set()
        """Run and step of each result that was kept when the shop was dead."""

    async def play(self) -> None:
        """Leaves the shop open. Raises DemoFailed, or an ExceptionGroup around it."""
        pictures = self.prepare()
        async with asyncio.TaskGroup() as group:
            beside = [group.create_task(loop) for loop in (self.shop.mind(), self.follow_inbox())]
            await self.shop.open()
            beside.append(group.create_task(self.follower.follow()))
            await self.sign_up()
            await self.place_order()
            imported = await self.import_products(pictures)
            reported = await self.order_report()
            await self.wait_for_the_rest()
            for task in beside:
                task.cancel()
        await self.check(imported, reported)

    def prepare(self) -> list[Path]:
        self.screen.title("Setting up")
        catalogue.write(self.csv, ROWS)
        size = self.csv.stat().st_size / 1e6
        self.screen.say("demo", f"wrote {self.csv.name}: {ROWS:,} rows, {size:.1f} MB")
        pictures = images.draw_album(self.camera, PICTURES)
        width, height = images.SIZE
        self.screen.say("demo", f"drew {PICTURES} pictures, {width} x {height}, JPEG and PNG")
        return pictures

    # -- the scenes ------------------------------------------------------------------------------

    async def sign_up(self) -> None:
        self.screen.title("1  Ada signs up: a welcome at once, a follow-up three days later")
        seconds = self.followup.total_seconds()
        self.screen.say(
            "demo", f'the "3 days" are shortened to {seconds:g} seconds in this demo', "bold"
        )
        await self.customer.sign_up("Ada", ADA)
        self.screen.say("sign-up", "POST /users: the shop has sent user/signed.up")
        await self.follower.wait("send_welcome_email", is_asleep)

    async def place_order(self) -> None:
        self.screen.title("2  She orders: a confirmation, an invoice, and the payment after 5 s")
        self.order, jobs = await self.customer.order(ADA, THINGS)
        self.jobs |= jobs
        self.screen.say("order", f"POST /orders: the shop has enqueued {', '.join(jobs)}")
        for function in ("confirm_order", "generate_invoice"):
            await self.follower.wait(function, lambda run: run.is_final)

    async def import_products(self, pictures: list[Path]) -> Status:
        """Let the album and the crash come in the middle of it."""
        self.screen.title(f"3  The product list: {ROWS:,} rows of CSV into the shop's database")
        job = self.jobs["import"] = await self.customer.import_products(self.csv)
        self.screen.say("import", f"POST /imports: {settings.URL}/jobs/{job} follows it live")
        coming: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (ALBUM_AT, lambda: self.create_album(pictures)),
            (KILL_AT, self.crash),
        ]

        async def go_on(update: Status) -> None:
            while coming and (update.progress or 0) >= coming[0][0] and not update.is_final:
                _, scene = coming.pop(0)
                await scene()

        last = await self.follow("import", job, go_on)
        if coming:
            raise DemoFailed(f"the import was over before it was seen at {coming[0][0]} %")
        self.screen.say("import", "its stream broke at the kill, and went on with Last-Event-ID")
        return last

    async def create_album(self, pictures: list[Path]) -> None:
        self.screen.title(f"4  An album: thumbnails of {len(pictures)} pictures, in parallel steps")
        self.album = await self.customer.create_album(pictures)
        self.screen.say("album", "POST /albums: the shop has sent album/created")

    async def crash(self) -> None:
        self.screen.title("5  The shop dies, and goes on where it was")
        await self.keep_away_from_the_followup()
        await self.follower.look()
        seen = self.kept()
        self.shop.kill()
        killed_at = time.time_ns() // 1_000_000
        await self.shop.open()
        await self.follower.look()
        self.kept_at_kill = self.kept(killed_at)
        checks.expect(seen <= self.kept_at_kill, f"forgotten: {seen - self.kept_at_kill}")
        for run in self.follower.runs.values():
            if run.ended_at is None or run.ended_at > killed_at:
                lost = len(in_hand(run, killed_at))
                told = f"{len(run.kept(killed_at))} steps were kept, {lost} in hand lost"
                self.screen.say(WHO[run.function], f"{run.function}: {told}")

    def kept(self, at: float = math.inf) -> set[tuple[str, str]]:
        """Run and step of each result that errands has."""
        runs = self.follower.runs.values()
        return {(run.id, step.id) for run in runs for step in run.kept(at)}

    async def keep_away_from_the_followup(self) -> None:
        """Be sure that no mail is on its way when the shop dies.

        If it died after the mail server had the message, but before errands had kept the step, the
        mail would rightly be sent again; and the checks count mails. So on a machine so slow that
        the follow-up is near, the kill waits until it is done.
        """
        if self.followup.total_seconds() - self.since_welcome() < 1:
            await self.follower.wait("send_welcome_email", lambda run: run.is_final)

    async def order_report(self) -> Status:
        self.screen.title("6  A report of the stock, as a PDF")
        job = self.jobs["report"] = await self.customer.order_report()
        self.screen.say("report", f"POST /reports: {settings.URL}/jobs/{job} follows it live")
        return await self.follow("report", job)

    async def wait_for_the_rest(self) -> None:
        self.screen.title("7  The rest")
        await self.follower.wait("generate_report", lambda run: run.is_final)
        await self.follower.wait("process_album", lambda run: run.is_final)
        await self.follower.wait("process_payment", lambda run: run.is_final)
        left = self.followup.total_seconds() - self.since_welcome()
        if left > 0:
            self.screen.say("sign-up", f"still asleep, for {left:.1f} seconds")
        await self.follower.wait("send_welcome_email", lambda run: run.is_final)

    async def check(self, imported: Status, reported: Status) -> None:
        self.screen.title("Did it all come true?")
        runs = list(self.follower.runs.values())
        cents = sum(catalogue.PRICES[thing] * n for thing, n in THINGS.items())
        words = {"name": "Ada", "order": self.order}
        subjects = [
            mail.TEMPLATES[name][0].format(**words) for name in ("welcome", "order", "followup")
        ]
        customer = self.customer
        invoiced = await customer.status(self.jobs["invoice"])
        thumbnails = {
            path: await customer.file(path) for path in await customer.thumbnails(self.album)
        }
        for found in (
            checks.check_runs(runs),
            checks.check_mail(self.inbox, ADA, subjects, self.followup),
            checks.check_payment(self.order, cents, PAYMENT_AFTER),
            checks.check_notifications(self.order),
            checks.check_pdf("invoice", await customer.file(invoiced.result["file"]), 1),
            checks.check_rows(self.csv, ROWS, imported.result["rows"]),
            checks.check_thumbnails(thumbnails, PICTURES),
            checks.check_pdf(
                "report",
                await customer.file(reported.result["file"]),
                1 + len(catalogue.MAKERS),
            ),
            checks.check_steps(runs, self.kept_at_kill),
        ):
            self.screen.say("demo", f"✓ {found}", "green")

    # -- what is seen ----------------------------------------------------------------------------

    async def follow(
        self, who: str, job: str, hear: Callable[[Status], Awaitable[None]] | None = None
    ) -> Status:
        """Show a job's progress, as its page gets it; gives the final status."""
        last: Status | None = None
        async for last in self.customer.follow(job):
            self.screen.progress(who, last.progress or 0, last.message or last.status)
            if hear is not None:
                await hear(last)
        self.screen.end_progress(who)
        if last is None or last.status != "completed":
            raise DemoFailed(f"the {who} ended so: {last}")
        return last

    def tell_steps(self, run: Run, news: list[Step]) -> None:
        who = WHO[run.function]
        if kept := [step.id for step in news if step.finished_at is not None]:
            self.screen.say(who, f"✓ {shortened(kept)}")
        for step in news:
            if step.kind == "sleep" and step.finished_at is None:
                self.screen.say(who, f"sleeps in {step.id}")
        if run.is_final:
            self.screen.say(who, f"{run.function} {run.status}, {len(run.steps)} steps", "bold")

    async def follow_inbox(self) -> None:
        seen = 0
        while True:
            for message in inbox.messages(self.inbox)[seen:]:
                seen += 1
                self.screen.say("inbox", f'for {message["To"]}: "{message["Subject"]}"')
            await asyncio.sleep(0.1)

    def since_welcome(self) -> float:
        """Seconds since the follow-up's sleep began."""
        sleep = next(
            step for step in self.follower.runs["send_welcome_email"].steps if step.kind == "sleep"
        )
        assert sleep.started_at is not None
        return time.time() - sleep.started_at / 1000

    def tell_where_to_look(self) -> None:
        self.screen.title("Have a look; Ctrl-C closes the shop")
        for what, where in (
            ("the shop", f"{settings.URL}/"),
            ("the import", f"{settings.URL}/jobs/{self.jobs['import']}"),
            ("the report", f"{settings.URL}/jobs/{self.jobs['report']}"),
            ("its routes", f"{settings.URL}/docs"),
            ("its runs", f"ERRANDS_URL={os.environ['ERRANDS_URL']} errands runs list"),
            ("its mail", str(self.inbox)),
            ("a product list", str(self.csv)),
            ("pictures", str(self.camera)),
        ):
            self.screen.say("demo", f"{what:<15}{where}")


def is_asleep(run: Run) -> bool:
    return any(step.kind == "sleep" for step in run.steps)


def in_hand(run: Run, at: int) -> set[str]:
    """Steps that had begun to execute by then (Unix ms), and whose result was not kept."""
    begun = {
        execution.step_id
        for execution in executions.executions()
        if execution.run_id == run.id and execution.started_at <= at
    }
    return begun - {step.id for step in run.kept(at)}


def shortened(ids: list[str]) -> str:
    """At most four of them, and their number."""
    if len(ids) <= 4:
        return ", ".join(ids)
    return f"{', '.join(ids[:3])}, … {ids[-1]} ({len(ids)} steps)"
