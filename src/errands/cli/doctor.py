"""`errands doctor`: what is wrong with a store and those who use it, and what to do."""

import typer

from errands.cli.options import Json, Store


def doctor(store: Store = None, json: Json = False) -> None:
    """Look for what is wrong, and say what to do. Exit code 1 if there is anything."""
    import msgspec

    from errands.cli import examine
    from errands.cli.connection import check_exists, open_existing, store_url
    from errands.cli.output import console, is_for_people, print_json, printable
    from errands.model.errors import InvalidConfig, StoreError
    from errands.settings import settings_from

    url = store_url(store)
    check_exists(url)
    settings = settings_from()
    counts: dict[str, int] = {}
    findings = list(examine.examine_machine())
    try:
        opened = open_existing(url)
    except InvalidConfig:
        raise
    except StoreError as error:
        findings.append(examine.not_opened(error))
    else:
        findings += examine.examine_store(opened, settings)
        counts = opened.reader.counts()
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
        out.print(f"[dim]rows     {rows}[/]" if rows else "")
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
