"""Where a setting is from: defaults, a file, the environment, flags, in this order."""

from pathlib import Path

import pytest

from errands.model.errors import InvalidConfig
from errands.settings import (
    Settings,
    find_file,
    find_settings,
    secrets_of,
    settings_from,
    without_secrets,
)

SECRETS = Settings(event_keys=("event-one",), signing_key="sign-two", api_token="token-three")


def write(folder: Path, text: str, name: str = "errands.toml") -> None:
    (folder / name).write_text(text)


def test_nothing_said_gives_the_defaults() -> None:
    assert settings_from({}) == Settings()


def test_each_source_goes_before_the_one_below_it(tmp_path: Path) -> None:
    write(tmp_path, 'threads = 5\nlease = "10s"\ngrace = "7s"')
    environment = {"ERRANDS_LEASE": "20s", "ERRANDS_GRACE": "8s"}

    found = find_settings(environment, find_file(tmp_path), {"grace_ms": "9s"})

    told = {one.name: (one.value, one.origin) for one in found}
    assert told["concurrency"] == (100, "default")
    assert told["threads"] == (5, str(tmp_path / "errands.toml"))
    assert told["lease_ms"] == (20_000, "ERRANDS_LEASE")
    assert told["grace_ms"] == (9_000, "--grace")


def test_a_flag_that_is_not_given_says_nothing() -> None:
    assert settings_from({}, None, {"concurrency": None}) == Settings()


def test_the_nearest_file_upwards_is_read_alone(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    write(tmp_path, "threads = 1\nparked = 1")
    write(tmp_path / "a", "threads = 2")

    settings = settings_from({}, find_file(inner))

    assert (settings.threads, settings.parked) == (2, 1_000)


def test_pyproject_is_read_where_it_has_a_table_for_errands(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    write(tmp_path, '[tool.errands]\napp = "shop:app"\nthreads = 3', "pyproject.toml")
    write(inner, "[tool.other]\nthreads = 4", "pyproject.toml")

    file = find_file(inner)

    assert file is not None
    assert (file.path, file.app, file.values) == (
        tmp_path / "pyproject.toml",
        "shop:app",
        {"threads": 3},
    )


def test_lists_are_written_with_commas_or_as_lists(tmp_path: Path) -> None:
    write(tmp_path, 'cors_origins = ["https://a.example", "https://b.example"]')
    expected = ("https://a.example", "https://b.example")

    assert settings_from({}, find_file(tmp_path)).cors_origins == expected
    environment = {"ERRANDS_CORS_ORIGINS": "https://a.example, https://b.example,"}
    assert settings_from(environment).cors_origins == expected


def test_keys_of_inngest_sdks_are_read_where_ours_are_not_set() -> None:
    theirs = {"INNGEST_EVENT_KEY": "e1", "INNGEST_SIGNING_KEY": "s1"}

    assert settings_from(theirs).event_keys == ("e1",)
    assert settings_from(theirs).signing_key == "s1"
    assert settings_from({**theirs, "ERRANDS_EVENT_KEY": "e2,e3"}).event_keys == ("e2", "e3")


def test_an_empty_secret_is_not_set() -> None:
    found = find_settings({"ERRANDS_API_TOKEN": ""})
    assert [one.origin for one in found if one.name == "api_token"] == ["default"]


def test_secrets_are_not_in_what_is_printed() -> None:
    for secret in ("event-one", "sign-two", "token-three"):
        assert secret not in repr(SECRETS)
        assert secret not in f"{SECRETS}"


def test_all_secrets_are_known_to_the_log() -> None:
    assert secrets_of(SECRETS) == ("event-one", "sign-two", "token-three")
    assert secrets_of(Settings()) == ()


def test_without_secrets_nothing_else_is_lost() -> None:
    assert without_secrets(SECRETS) == Settings()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("threads = 0", "threads in {path}=0 is too small"),
        ('threads = "many"', "threads in {path}='many' is no number"),
        ("threads = true", "threads in {path}=True is no number"),
        ("lease = 30", "lease in {path}: 30 is refused; a bare number could be seconds"),
        ("thread = 1", "there is no setting 'thread'"),
        ('api_token = "x"', "api_token is a secret, and files like this one are shared"),
        ('url = "sqlite:///x.db"', "The store's URL is ERRANDS_URL"),
        ("cors_origins = 1", "cors_origins in {path} is no text"),
        ('open_api = "perhaps"', "open_api in {path}='perhaps' is neither yes nor no"),
        ('log_format = "xml"', "log_format in {path}='xml' is not known. Write text or json"),
        ("app = 1", "app in {path} is no text"),
        ("threads = ", "{path} is no TOML"),
    ],
)
def test_what_cannot_be_is_refused_by_name(tmp_path: Path, text: str, what: str) -> None:
    write(tmp_path, text)

    with pytest.raises(InvalidConfig) as caught:
        settings_from({}, find_file(tmp_path))

    assert what.format(path=tmp_path / "errands.toml") in str(caught.value)


def test_a_variable_that_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(InvalidConfig, match="ERRANDS_CONCURRENCY=0 is too small"):
        settings_from({"ERRANDS_CONCURRENCY": "0"})
