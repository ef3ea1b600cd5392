"""What the audience sees: one line a happening; on a terminal also colours and a bar that moves."""

import io
import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

STYLES = {
    "demo": "bold",
    "inbox": "blue",
    "shop": "yellow",
    "sign-up": "green",
    "order": "bright_yellow",
    "import": "cyan",
    "album": "magenta",
    "report": "bright_blue",
}


class Screen:
    """Colours and the bar are rich's, which honours NO_COLOR and has neither off a terminal."""

    def __init__(self) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A "?" in the place of a check mark is better than a demo that ends at one.
            sys.stdout.reconfigure(errors="replace")
        # No markup: step ids have brackets.
        self.console = Console(highlight=False, markup=False, soft_wrap=True)
        self.began = time.monotonic()
        self._bars = Progress(
            TextColumn("         {task.fields[who]:<8}"),
            BarColumn(40),
            TextColumn("{task.percentage:3.0f} %  {task.description}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        stack: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def seconds(self) -> float:
        """Since the demo began."""
        return time.monotonic() - self.began

    @property
    def is_watched(self) -> bool:
        """Is there a terminal?"""
        return self.console.is_terminal

    def title(self, text: str) -> None:
        self.console.print()
        self.console.print(Text(text, style="bold underline"))

    def say(self, who: str, text: str, style: str = "") -> None:
        """One line: when, who, what."""
        line = Text(f"{self.seconds():6.2f} s ", style="dim")
        line.append(f"{who:<8} ", style=f"not dim {STYLES.get(who, '')}")
        line.append(text, style=f"not dim {style}")
        self.console.print(line)

    def progress(self, who: str, percent: float, message: str) -> None:
        """Move a bar; where there is none, a line for each tenth."""
        if self.console.is_terminal:
            if who not in self._tasks:
                self._tasks[who] = self._bars.add_task(message, total=100, who=who)
            self._bars.update(self._tasks[who], completed=percent, description=message)
        elif percent // 10 > self._told.get(who, -1):
            self._told[who] = int(percent // 10)
            self.say(who, f"{percent:3.0f} %  {message}")

    def end_progress(self, who: str) -> None:
        """Take the bar away."""
        if who in self._tasks:
            self._bars.remove_task(self._tasks.pop(who))
