"""`errands doctor`: what is wrong with a store and those who use it, and what to do."""

from typing import TYPE_CHECKING

import typer

from errands.cli.options import Json, Url

if TYPE_CHECKING:
    from errands.cli.examine import Finding


def doctor(store: Url = None, json: Json = False) -> None:
    """Find what is wrong, and say what to do. Exit code 1 if there is anything."""
    import msgspec

    from errands.cli.connection import errands_url
    from errands.cli.output import console, is_for_people, print_json, printable

    findings, counts = _examine(errands_url(store))
    is_fine = all(finding.ok for finding in findings)
    if is_for_people(json):
        out = console()
        for finding in findings:
            mark = "[green]ok[/]     " if finding.ok else "[bold red]problem[/]"
            out.print(f"{mark}  [bold]{finding.check:<9}[/]", end=" ")
            out.print(printable(finding.finding), markup=False)
            if finding.fix is not None:
                out.print(f"{'':<18} → {printable(finding.fix)}", markup=False)
        rows = ", ".join(f"{count:,} {place}" for place, count in counts.items())
        if rows:
            out.print(f"[dim]rows     {rows}[/]")
    else:
        print_json(
            {
                "ok": is_fine,
                "findings": [msgspec.structs.asdict(finding) for finding in findings],
                "counts": counts,
            }
        )
    if not is_fine:
        raise typer.Exit(1)


def _examine(url: str) -> "tuple[list[Finding], dict[str, int]]":
    """What is found, and how many rows stand in each place. Raises InvalidConfig."""
    from errands.cli import examine
    from errands.cli.connection import check_exists, is_server, open_existing
    from errands.model.errors import InvalidConfig, StoreError
    from errands.settings import settings_here

    settings = settings_here()
    findings = [*examine.examine_machine(), *examine.examine_keys(settings)]
    if is_server(url):
        from errands.cli.examine_server import examine_server

        return [*findings, *examine_server(url)], {}
    check_exists(url)
    try:
        opened = open_existing(url)
    except InvalidConfig:
        raise
    except StoreError as error:
        return [*findings, examine.not_opened(error)], {}
    return [*findings, *examine.examine_store(opened, settings)], opened.reader.counts()
