"""A shop: welcome e-mail, fan-out, an order with payment, invoices."""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from errands import (
    App,
    Cancel,
    Event,
    Failure,
    NonRetriableError,
    RetryAfterError,
    StepError,
    Timeouts,
    progress,
    step,
)

app = App("shop")


class SignedUp(Event, name="user/signed.up"):
    user_id: str
    email: str


class ItemCreated(Event, name="item/created"):
    id: str
    tenant: str = "main"


class AlbumCreated(Event, name="album/created"):
    image_ids: list[str]


class OrderEvent(Event):
    order_id: str


class OrderCreated(OrderEvent, name="order/created"):
    amount: Decimal


class Paid(OrderEvent, name="order/paid"):
    reference: str


class OrderCancelled(OrderEvent, name="order/cancelled"): ...


@dataclass
class User:
    id: str
    name: str
    since: datetime


class CardDeclined(Exception): ...


async def find_user(user_id: str) -> User:
    return User(user_id, "Ada", datetime.now(UTC))


async def send_email(to: str, template: str, *, name: str = "") -> None: ...


def thumbnail(image_id: str) -> str:
    return f"/thumbs/{image_id}.jpg"


async def charge(order_id: str, amount: Decimal) -> str:
    if amount > 10_000:
        raise CardDeclined(order_id)
    if amount < 0:
        raise NonRetriableError("negative amount")
    if amount == 42:
        raise RetryAfterError("the bank is closed", "10m")
    return "receipt"


@app.function(on=SignedUp, retries=4)
async def send_welcome_email(event: SignedUp) -> dict[str, bool]:
    user = await step.run("get-user", find_user, event.user_id)
    await step.run("send-email", send_email, to=event.email, template="welcome", name=user.name)
    await step.sleep("wait-for-followup", "3 days")
    await step.run("send-followup", send_email, to=event.email, template="followup", name=user.name)
    return {"sent": True}


@app.function(on=AlbumCreated)
async def process_images(event: AlbumCreated) -> list[str]:
    ids = event.image_ids
    first = await asyncio.gather(*(step.run(f"process-{id}", thumbnail, id) for id in ids[:2]))
    rest = await step.map("process", thumbnail, ids[2:], concurrency=8)
    return [*first, *rest]


@app.function(
    on=OrderCreated,
    cancel=Cancel(OrderCancelled, match="data.order_id"),
    timeouts=Timeouts(finish="30 days"),
)
async def fulfil_order(event: OrderCreated) -> str:
    careful = step.with_options(retries=2, timeout="20s")
    try:
        receipt = await careful.run("charge", charge, event.order_id, event.amount)
    except StepError as error:
        return "declined" if error.was(CardDeclined) else "failed"
    paid = await step.wait_for_event(
        "paid", Paid, if_exp=lambda paid: paid.order_id == event.order_id, timeout="3 days"
    )
    if paid is None:
        return "unpaid"
    invoice = await step.invoke("invoice", make_invoice, event.order_id, reference=paid.reference)
    await step.send_event("tell", OrderCancelled(order_id=event.order_id))
    return receipt + invoice


@fulfil_order.on_failure
async def tell_support(failure: Failure, event: OrderCreated) -> None:
    text = f"{event.order_id}: {failure.message}"
    await step.run("mail", send_email, to="support@example.com", template="failed", name=text)


@app.job(retries=3)
async def make_invoice(order_id: str, *, reference: str | None = None) -> str:
    for page in progress.track(range(10)):
        progress.set(10 * page, f"page {page}")
    return f"/invoices/{order_id}.pdf"


@make_invoice.on_failure
async def invoice_failed(failure: Failure, order_id: str, *, reference: str | None = None) -> None:
    print(order_id, reference, failure.was(CardDeclined))


async def create_order() -> dict[str, str]:
    await app.send(SignedUp(user_id="u1", email="ada@example.com"))
    second = {"id": "2"}
    ids: list[str] = await app.send([ItemCreated(id="1"), {"name": "item/created", "data": second}])
    await app.send(OrderCreated(order_id="o1", amount=Decimal("9.90")).with_options(id="order-o1"))
    later = make_invoice.with_options(delay="5s", idempotency_key="invoice-o1")
    job = await later.enqueue("o1")
    jobs = await app.enqueue_many(make_invoice.bind(f"o{n}") for n in range(10_000))
    url = await job.result(timeout="1m")
    return {"url": url, "last": jobs[-1].id, "first": ids[0]}
