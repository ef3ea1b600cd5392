"""Plain code: everything async is done with one word, sync()."""

from dataclasses import dataclass

from errands import App, Event, JobFailed, ResultTimeout, Retries, progress, step, sync

app = App("office")


class InvoiceDue(Event, name="invoice/due"):
    invoice_id: int
    email: str


@dataclass
class Invoice:
    id: int
    total_cents: int


def load_invoice(invoice_id: int) -> Invoice:
    return Invoice(invoice_id, 1200)


def send_mail(to: str, text: str) -> None: ...


@app.function(
    on=InvoiceDue,
    retries=Retries(8, delay="1m", delay_max="6h", give_up_on=(PermissionError,)),
)
async def remind(event: InvoiceDue) -> int:  # async orchestration, plain steps
    invoice = await step.run("load", load_invoice, event.invoice_id)
    await step.run("mail", send_mail, event.email, f"{invoice.total_cents / 100:.2f} are due")
    return invoice.total_cents


@app.job
def export_ledger(year: int) -> str:  # a plain job, steps included
    invoice = sync(step.run("load", load_invoice, 1))
    for month in progress.track(range(1, 13)):
        text = f"{year}-{month}: {invoice.total_cents}"
        sync(step.run(f"month-{month}", send_mail, "books@example.com", text))
    return f"/ledger/{year}.csv"


def due(invoice_id: int) -> dict[str, str]:
    event_id = sync(app.send(InvoiceDue(invoice_id=invoice_id, email="ada@example.com")))
    job = sync(export_ledger.with_options(delay="5s").enqueue(2026))
    return {"event": event_id, "job": job.id}


def ledger(year: int) -> dict[str, str]:
    job = sync(export_ledger.enqueue(year))
    try:
        return {"url": sync(job.result(timeout="20s"))}
    except ResultTimeout:
        return {"job": job.id}
    except JobFailed as error:
        return {"error": error.message}


def script() -> None:
    jobs = sync(app.enqueue_many([export_ledger.bind(2025), export_ledger.bind(2026)]))
    for update in sync(jobs[0].watch()):
        print(update.status, update.progress)
    print(export_ledger(2026))  # just the function, here and now
