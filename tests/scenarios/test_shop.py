"""The shop of examples/shop, as a customer meets it: a real process, real HTTP, real mail."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from examples.demo.processes import Processes
from examples.demo.shop import free_port
from examples.shop import catalogue, images, inbox

DEADLINE_SECONDS = 30
KEY = "key-of-the-shop"


class Shop:
    def __init__(self, url: str, folder: Path) -> None:
        self.http = httpx2.Client(base_url=url, timeout=DEADLINE_SECONDS, trust_env=False)
        self.folder = folder

    def subjects(self, to: str) -> list[str]:
        """Of the mail that this customer has."""
        mail = inbox.messages(self.folder / "inbox")
        return [message["Subject"] for message in mail if message["To"] == to]

    def status(self, job: str) -> dict[str, Any]:
        return self.http.get(f"/jobs/{job}/status").json()

    def wait_final(self, job: str) -> dict[str, Any]:
        wait_until(lambda: self.status(job)["status"] in ("completed", "failed"))
        return self.status(job)


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    with pytest.MonkeyPatch.context() as patch, Processes(folder) as processes:
        mailbox = processes.start(
            "inbox", sys.executable, "-m", "examples.shop.inbox",
            *("--folder", str(folder / "inbox"), "--port", "0"),
        )  # fmt: skip
        wait_until(lambda: mailbox.last_words() != "")
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        for name, value in {
            "ERRANDS_URL": f"sqlite:///{folder / 'errands.db'}",
            "INTERNAL_API_KEY": KEY,
            "SHOP_DATA": str(folder),
            "SHOP_FOLLOWUP_AFTER": "200ms",
            "SHOP_PAYMENT_AFTER": "200ms",
            "SHOP_SMTP": mailbox.last_words().splitlines()[0],
            "SHOP_URL": url,
        }.items():
            patch.setenv(name, value)
        shop = Shop(url, folder)
        process = processes.start(
            "shop", sys.executable, "-m", "uvicorn", "examples.shop.web:api", "--port", str(port)
        )
        with shop.http:
            wait_until(lambda: process.exit_code is not None or answers(shop.http))
            assert process.exit_code is None, process.last_words()
            yield shop
        for one in (process, mailbox):
            processes.kill(one)


def answers(http: httpx2.Client) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return http.get("/").is_success
    return False


def test_signing_up_twice_sends_one_welcome_and_one_followup(shop: Shop) -> None:
    ada = {"name": "Ada", "email": "ada@example.com"}
    first, second = (shop.http.post("/users", json=ada) for _ in range(2))

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json() == second.json()
    wait_until(lambda: len(shop.subjects("ada@example.com")) == 2)
    assert shop.subjects("ada@example.com") == ["Welcome to our shop, Ada!", "How's it going?"]


def test_an_order_is_confirmed_paid_and_invoiced(shop: Shop) -> None:
    answer = shop.http.post("/orders", json={"email": "bob@example.com", "things": {"lamp": 2}})
    assert answer.status_code == 201
    placed = answer.json()

    jobs = {what: shop.wait_final(job) for what, job in placed["jobs"].items()}

    assert {what: job["status"] for what, job in jobs.items()} == {
        "confirmation": "completed",
        "payment": "completed",
        "invoice": "completed",
    }
    assert shop.subjects("bob@example.com") == [f"Your order {placed['order']}"]
    assert jobs["payment"]["result"] == 2 * catalogue.PRICES["lamp"]
    invoice = shop.http.get(f"/files/{jobs['invoice']['result']['file']}")
    assert invoice.headers["content-type"] == "application/pdf"
    assert invoice.content.startswith(b"%PDF-")


def test_an_order_is_told_to_the_people_in_the_shop_and_to_nobody_else(shop: Shop) -> None:
    answer = shop.http.post("/orders", json={"email": "cy@example.com", "things": {"vase": 1}})
    told = f"Order {answer.json()['order']}: 18.00 EUR"

    def notifications(key: str) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return shop.http.get("/internal/notifications", headers=headers)

    wait_until(lambda: told in notifications(KEY).json())
    refused = notifications("guessed")
    assert (refused.status_code, refused.json()) == (401, {"error": "Unauthorized"})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/orders", {"email": "bob@example.com", "things": {"boat": 1}}),
        ("/orders", {"email": "bob@example.com", "things": {"lamp": 0}}),
        ("/users", {"name": "Ada\r\nBcc: all@example.com", "email": "a@example.com"}),
        ("/users", {"name": "Ada", "email": "nobody"}),
    ],
)
def test_what_the_shop_cannot_use_is_refused(shop: Shop, path: str, body: dict[str, Any]) -> None:
    assert shop.http.post(path, json=body).status_code == 422


def test_an_album_gets_a_thumbnail_for_each_picture(shop: Shop, tmp_path: Path) -> None:
    pictures = images.draw_album(tmp_path, 3)
    files = [("pictures", (path.name, path.read_bytes())) for path in pictures]
    album = shop.http.post("/albums", files=files).json()["album"]

    def found() -> list[str]:
        return shop.http.get(f"/albums/{album}").json()["thumbnails"]

    wait_until(lambda: len(found()) == 4)
    assert [Path(path).name for path in found()] == ["000.jpg", "001.png", "002.jpg", "cover.jpg"]
    assert all(shop.http.get(f"/files/{path}").is_success for path in found())


def test_an_album_of_something_else_is_refused(shop: Shop) -> None:
    answer = shop.http.post("/albums", files={"pictures": ("notes.txt", b"no picture")})
    assert (answer.status_code, answer.json()["detail"]) == (
        415,
        "notes.txt is text/plain, not JPEG or PNG.",
    )


def test_products_are_imported_and_reported(shop: Shop, tmp_path: Path) -> None:
    catalogue.write(tmp_path / "products.csv", rows=2_500)
    with (tmp_path / "products.csv").open("rb") as file:
        job = shop.http.post("/imports", files={"products": file}).json()["job"]
    imported = shop.wait_final(job)
    assert (imported["progress"], imported["result"]) == (100, {"chunks": 3, "rows": 2_500})

    reported = shop.wait_final(shop.http.post("/reports").json()["job"])
    assert reported["message"] == "the report is ready"
    report = shop.http.get(f"/files/{reported['result']['file']}").content
    assert report.count(b"/Type /Page\n") == 1 + len(catalogue.MAKERS)


def test_a_job_is_followed_by_a_stream_that_ends_with_it(shop: Shop) -> None:
    job = shop.http.post("/reports").json()["job"]

    stream = shop.http.get(f"/jobs/{job}/events", follow_redirects=True)

    told = [line[6:] for line in stream.text.splitlines() if line.startswith("data: ")]
    assert json.loads(told[-1]) == shop.status(job)
    assert json.loads(told[-1])["status"] == "completed"


def test_the_api_of_errands_is_shut_to_customers(shop: Shop) -> None:
    assert shop.http.get("/errands/api/runs").status_code == 401


def test_a_row_that_is_no_product_fails_the_import_and_is_named(shop: Shop) -> None:
    csv = b"sku,maker,name,price,stock\nSKU-1,Acme,lamp,cheap,1\n"
    job = shop.http.post("/imports", files={"products": csv}).json()["job"]

    failed = shop.wait_final(job)

    row = "['SKU-1', 'Acme', 'lamp', 'cheap', '1']"
    assert failed["status"] == "failed"
    assert failed["error"] == f"NotAProductList: Row 1 is no product: {row}."


@pytest.mark.parametrize("what", ["status", "events"])
def test_a_job_that_is_not_there_is_said_to_be_missing(shop: Shop, what: str) -> None:
    answer = shop.http.get(f"/jobs/nothing/{what}")
    assert (answer.status_code, answer.json()) == (404, {"error": "Job not found"})


@pytest.mark.parametrize("path", ["/", "/jobs/any", "/pages/job.js", "/pages/shop.css"])
def test_pages_need_nothing_from_elsewhere(shop: Shop, path: str) -> None:
    page = shop.http.get(path)
    assert page.status_code == 200
    assert "://" not in page.text
