"""Who may do what: each key opens its own doors, and none is ever told to anybody."""

import logging
from pathlib import Path

import httpx2
import pytest

from errands.api.keys import Keys
from errands.api.problems import Refusal
from errands.embedded import Embedded
from errands.settings import Settings
from tests.api.conftest import client_of, problem, serving

EVENT_KEY, TOKEN, SIGNING = "event-key-secret", "api-token-secret", "signing-secret"
KEYS = Keys((EVENT_KEY, "second-event-key"), (TOKEN,), SIGNING)
EVENT = {"name": "order/paid"}
BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize("key", [EVENT_KEY, "second-event-key", TOKEN])
async def test_a_key_sends_events(process: Embedded, key: str) -> None:
    async with client_of(process, KEYS) as api:
        assert (await api.post(f"/e/{key}", json=EVENT)).status_code == 200


@pytest.mark.parametrize("key", ["x", EVENT_KEY + "x", EVENT_KEY[:-1], SIGNING, "%00", "ü", "%20"])
async def test_another_key_sends_nothing(process: Embedded, key: str) -> None:
    async with client_of(process, KEYS) as api:
        # Told before the body is looked at.
        told = problem(await api.post(f"/e/{key}", content=b"nonsense"), 401, "unauthorized")
        assert key not in str(told)
        assert (await api.post("/e/", json=EVENT)).status_code == 404
        assert (await api.get("/api/events", headers=BEARER)).json()["events"] == []


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        "Bearer x",
        f"Bearer {EVENT_KEY}",
        f"Bearer {TOKEN}x",
        f"Basic {TOKEN}",
        TOKEN,
    ],
)
async def test_the_api_needs_its_token(process: Embedded, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given}
    async with client_of(process, KEYS) as api:
        for method, path in (
            ("GET", "/api/runs"),
            ("GET", "/api/runs/nobody"),
            ("POST", "/api/runs/nobody/cancel"),
            ("GET", "/api/events"),
            ("GET", "/api/functions"),
            ("POST", "/api/jobs"),
            ("PATCH", "/api/jobs/nobody"),
            ("POST", "/api/jobs/nobody/token"),
            ("GET", "/api/jobs/nobody/status"),
            ("GET", "/api/jobs/nobody/view"),
            ("GET", "/api/jobs/nobody/events"),
            ("GET", "/api/events/stream?job=nobody"),
            ("PUT", "/api/apps/shop"),
            ("POST", "/api/send"),
        ):
            answer = await api.request(method, path, headers=headers)
            problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"


async def test_the_token_opens_the_api(process: Embedded) -> None:
    async with client_of(process, KEYS) as api:
        for scheme in ("Bearer", "bearer", "BEARER "):
            headers = {"Authorization": f"{scheme} {TOKEN}"}
            assert (await api.get("/api/runs", headers=headers)).status_code == 200


async def test_health_and_the_document_need_none(process: Embedded) -> None:
    async with client_of(process, KEYS) as api:
        for path in ("/health", "/ready", "/metrics", "/api/openapi.json"):
            assert (await api.get(path)).status_code == 200


async def test_a_job_token_shows_one_job_for_its_time(process: Embedded) -> None:
    async with client_of(process, KEYS) as api:
        for id in ("mine", "other"):
            await api.post("/api/jobs", json={"id": id}, headers=BEARER)
        made = (await api.post("/api/jobs/mine/token", json={"ttl": "5m"}, headers=BEARER)).json()
        assert 0 < made["expiresAt"] - process.clock.now() <= 300_000
        asked = {"token": made["token"]}
        for path in ("/api/jobs/mine", "/api/jobs/mine/status"):
            assert (await api.get(path, params=asked)).json()["id"] == "mine"
        for path in ("/api/jobs/other", "/api/jobs/mine/view", "/api/runs"):
            assert (await api.get(path, params=asked)).status_code == 401
        answer = await api.patch("/api/jobs/mine", params=asked, json={"progress": 5})
        problem(answer, 401, "unauthorized")
        late = KEYS.job_token(["mine"], process.clock.now() - 1)
        told = problem(await api.get("/api/jobs/mine", params={"token": late}), 401, "unauthorized")
        assert "expired" in told["detail"]
        for ttl in ("0s", "25h", "soon", ""):
            answer = await api.post("/api/jobs/mine/token", json={"ttl": ttl}, headers=BEARER)
            problem(answer, 422, "invalid_value")


@pytest.mark.parametrize("token", ["", ".", "x", "1", "1.", "²." + "x", "9" * 5_000 + ".x", "-1.x"])
def test_nonsense_is_no_token(token: str) -> None:
    with pytest.raises(Refusal):
        KEYS.check_job("", token, ["mine"], 0)


def test_a_token_for_one_job_is_none_for_two() -> None:
    with pytest.raises(Refusal):
        KEYS.check_job("", KEYS.job_token(["a,b"], 100), ["a", "b"], 0)
    KEYS.check_job("", KEYS.job_token(["b", "a"], 100), ["a", "b"], 0)


def test_without_a_signing_key_no_token_is_good() -> None:
    keys = Keys(api_tokens=(TOKEN,))
    with pytest.raises(Refusal):
        keys.check_job("", keys.job_token(["a"], 100), ["a"], 0)


def test_an_empty_key_opens_nothing() -> None:
    keys = Keys(event_keys=("",), api_tokens=("",))
    for check in (lambda: keys.check_event_key(""), lambda: keys.check_token("Bearer ")):
        with pytest.raises(Refusal):
            check()


def test_keys_are_not_in_their_repr() -> None:
    assert not [secret for secret in (EVENT_KEY, TOKEN, SIGNING) if secret in repr(KEYS)]


def test_no_key_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with (
        serving(tmp_path, Settings(), KEYS) as url,
        httpx2.Client(base_url=url, trust_env=False) as api,
    ):
        sent = api.post(f"/e/{EVENT_KEY}", json=EVENT)
        assert sent.status_code == 200
        api.post(f"/e/{EVENT_KEY}", content=b"{")
        api.get(f"/e/{EVENT_KEY}")
        api.get(f"/e/{EVENT_KEY}/more")
        made = api.post("/api/jobs", headers=BEARER).json()
        token = api.post(f"/api/jobs/{made['id']}/token", headers=BEARER).json()["token"]
        assert api.get(f"/api/jobs/{made['id']}", params={"token": token}).status_code == 200
    told = [one.getMessage() for one in caplog.records if not one.name.startswith("http")]
    secrets = (EVENT_KEY, TOKEN, SIGNING, token)
    assert not [line for line in told if any(secret in line for secret in secrets)]


# -- without keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("origin", "is_let_in"),
    [
        (None, True),
        ("http://errands", True),
        ("http://localhost:3000", True),
        ("http://127.0.0.1:5173", True),
        ("https://mine.example", True),
        ("https://evil.example", False),
        ("http://errands.evil.example", False),
        ("http://localhost.evil.example", False),
        ("null", False),
        ("http://[", False),
    ],
)
async def test_a_foreign_page_changes_nothing_where_there_are_no_keys(
    process: Embedded, origin: str | None, is_let_in: bool
) -> None:
    headers = {} if origin is None else {"Origin": origin}
    settings = Settings(cors_origins=("https://mine.example",))
    async with client_of(process, settings=settings) as api:
        for path, body in (("/e/x", EVENT), ("/api/jobs", {})):
            answer = await api.post(path, json=body, headers=headers)
            if is_let_in:
                assert answer.is_success
            else:
                problem(answer, 403, "foreign_origin")
        assert (await api.get("/api/runs", headers=headers)).status_code == 200
