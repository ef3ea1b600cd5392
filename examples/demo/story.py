"""The demo's story: a sign-up, an import, an album, and a worker that dies in the middle of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from errands import Job
from examples.demo import checks
from examples.demo.failure import DemoFailed
from examples.demo.processes import Process, Processes
from examples.demo.runs import ERRANDS, Follower, Run, Step
from examples.demo.screen import Screen
from examples.shop import catalogue, database, executions, images, inbox, mail, web
from examples.shop.app import Imported

ADA = "ada@example.com"
ROWS = 100_000
PICTURES = 36
ALBUM_AT, KILL_AT = 25, 45
"""Percent of the import at which the album is made, and at which the worker is killed."""
WHO = {"send_welcome_email": "sign-up", "import_csv": "import", "process_album": "album"}


class Story:
    """Plays it. The demo's own process is the web app: it sends and enqueues, executes nothing."""

    def __init__(
        self, screen: Screen, processes: Processes, folder: Path, followup: timedelta
    ) -> None:
        """folder: where to keep what it makes; followup: what the "3 days" are shortened to."""
        self.screen = screen
        self.processes = processes
        self.inbox = folder / "inbox"
        self.csv = folder / "products.csv"
        self.followup = followup
        self.follower = Follower(self.tell_steps)
        self.worker: Process | None = None
        """The one that should be alive now."""
        self.kept_at_kill: set[tuple[str, str]] = set()
        """Run and step of each result that was kept when the worker was dead."""
        self.restarted_at = 0
        """Unix milliseconds."""

    async def play(self) -> None:
        """Raises DemoFailed, or an ExceptionGroup around it."""
        pictures = self.prepare()
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(loop)
                for loop in (self.follower.follow(), self.follow_inbox(), self.mind_worker())
            ]
            self.start_worker()
            await self.sign_up()
            job = await self.start_import()
            imported = await self.follow_import(job, pictures)
            await self.wait_for_the_rest()
            await self.stop_worker()
            for task in beside:
                task.cancel()
        self.check(imported, pictures)

    def prepare(self) -> list[str]:
        self.screen.title("Setting up")
        database.create()
        catalogue.write(self.csv, ROWS)
        size = self.csv.stat().st_size / 1e6
        self.screen.say("demo", f"wrote {self.csv.name}: {ROWS:,} rows, {size:.1f} MB")
        pictures = images.draw_album("holiday", PICTURES)
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
        await web.sign_up("Ada", ADA)
        self.screen.say("sign-up", "sent user/signed.up")
        await self.follower.wait("send_welcome_email", is_asleep)

    async def start_import(self) -> Job[Imported]:
        self.screen.title(f"2  The product list: {ROWS:,} rows of CSV into the shop's database")
        job = await web.start_import(str(self.csv))
        self.screen.say("import", f"enqueued job {job.id}")
        return job

    async def follow_import(self, job: Job[Imported], pictures: list[str]) -> Imported:
        """Show its progress, and let the album and the crash come in the middle of it."""
        coming: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (ALBUM_AT, lambda: self.create_album(pictures)),
            (KILL_AT, self.crash),
        ]
        async for update in job.watch():
            percent = update.progress or 0
            self.screen.progress("import", percent, update.message or update.status)
            while coming and percent >= coming[0][0] and not update.is_final:
                _, scene = coming.pop(0)
                await scene()
        self.screen.end_progress("import")
        imported = await job.result()
        if coming:
            raise DemoFailed(f"the import was over before it was seen at {coming[0][0]} %")
        return imported

    async def create_album(self, pictures: list[str]) -> None:
        self.screen.title(f"3  An album: thumbnails of {len(pictures)} pictures, in parallel steps")
        await web.create_album("holiday", pictures)
        self.screen.say("album", "sent album/created")

    async def crash(self) -> None:
        self.screen.title("4  The worker dies, and another goes on")
        await self.keep_away_from_the_followup()
        worker, self.worker = self.worker, None
        assert worker is not None
        self.processes.kill(worker)
        self.screen.say("worker", f"kill -9 {worker.pid}: it is dead", "bold red")
        await self.follower.look()
        for run in self.follower.runs.values():
            self.screen.say(
                WHO[run.function],
                f"{len(run.kept())} steps kept, {len(in_hand(run))} in hand lost",
            )
            self.kept_at_kill |= {(run.id, step.id) for step in run.kept()}
        self.restarted_at = time.time_ns() // 1_000_000
        self.start_worker()

    async def keep_away_from_the_followup(self) -> None:
        """Be sure that no mail is on its way when the worker dies.

        If it died after the mail server had the message, but before errands had kept the step, the
        mail would rightly be sent again; and the checks count mails. So on a machine so slow that
        the follow-up is near, the kill waits until it is done.
        """
        if self.followup.total_seconds() - self.since_welcome() < 1:
            await self.follower.wait("send_welcome_email", lambda run: run.is_final)

    async def wait_for_the_rest(self) -> None:
        self.screen.title("5  The rest")
        await self.follower.wait("import_csv", lambda run: run.is_final)
        await self.follower.wait("process_album", lambda run: run.is_final)
        left = self.followup.total_seconds() - self.since_welcome()
        if left > 0:
            self.screen.say("sign-up", f"still asleep, for {left:.1f} seconds")
        await self.follower.wait("send_welcome_email", lambda run: run.is_final)

    def check(self, imported: Imported, pictures: list[str]) -> None:
        self.screen.title("Did it all come true?")
        runs = list(self.follower.runs.values())
        subjects = [mail.TEMPLATES[name][0].format(name="Ada") for name in ("welcome", "followup")]
        for found in (
            checks.check_runs(runs),
            checks.check_mail(self.inbox, ADA, subjects, self.followup),
            checks.check_rows(self.csv, ROWS, imported),
            checks.check_pictures(pictures),
            checks.check_steps(runs, self.kept_at_kill, self.restarted_at),
        ):
            self.screen.say("demo", f"✓ {found}", "green")

    # -- the worker ------------------------------------------------------------------------------

    def start_worker(self) -> None:
        self.worker = self.processes.start("worker", ERRANDS, "worker", "examples.shop.app:app")
        self.screen.say(
            "worker", f"started: errands worker examples.shop.app:app, process {self.worker.pid}"
        )

    async def stop_worker(self) -> None:
        worker, self.worker = self.worker, None
        assert worker is not None
        exit_code = await self.processes.stop(worker)
        if exit_code:
            raise DemoFailed(
                f"the worker ended with {exit_code} at SIGTERM:\n{worker.last_words()}"
            )
        self.screen.say("worker", f"stopped process {worker.pid}, exit code 0")

    async def mind_worker(self) -> None:
        while True:
            if self.worker is not None and self.worker.exit_code is not None:
                code = self.worker.exit_code
                raise DemoFailed(
                    f"the worker ended by itself with {code}:\n{self.worker.last_words()}"
                )
            await asyncio.sleep(0.2)

    # -- what is seen ----------------------------------------------------------------------------

    def tell_steps(self, run: Run, news: list[Step]) -> None:
        who = WHO[run.function]
        if kept := [step.id for step in news if step.finished_at is not None]:
            self.screen.say(who, f"✓ {shortened(kept)}")
        for step in news:
            if step.kind == "sleep" and step.finished_at is None:
                self.screen.say(who, f"sleeps in {step.id}")
        if run.is_final:
            self.screen.say(who, f"{run.status}, {len(run.steps)} steps", "bold")

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


def is_asleep(run: Run) -> bool:
    return any(step.kind == "sleep" for step in run.steps)


def in_hand(run: Run) -> set[str]:
    """Steps that had begun to execute, and whose result is not kept."""
    begun = {
        execution.step_id for execution in executions.executions() if execution.run_id == run.id
    }
    return begun - {step.id for step in run.kept()}


def shortened(ids: list[str]) -> str:
    """At most four of them, and their number."""
    if len(ids) <= 4:
        return ", ".join(ids)
    return f"{', '.join(ids[:3])}, … {ids[-1]} ({len(ids)} steps)"
