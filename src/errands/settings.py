"""Every setting: name, unit, default, variable. Read once, passed down, each with where it is from.

A flag goes before the environment, that before `errands.toml` or `[tool.errands]` in
pyproject.toml, and these before the defaults.
"""

import os
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import msgspec

from errands.model.duration import parse_duration
from errands.model.errors import InvalidConfig


class Settings(msgspec.Struct, frozen=True):
    concurrency: int = 100
    """Runs executed at once by a worker process. ERRANDS_CONCURRENCY"""
    threads: int = 32
    """Threads for plain functions, and as many again for plain steps. ERRANDS_THREADS"""
    parked: int = 1_000
    """Suspended coroutines kept in memory; the others are replayed when they wake. ERRANDS_PARKED
    """
    lease_ms: int = 30_000
    """How long a worker may be silent before it is taken for dead. ERRANDS_LEASE"""
    keep_runs_ms: int = 7 * 86_400_000
    """How long finished runs are kept. ERRANDS_KEEP_RUNS"""
    keep_events_ms: int = 7 * 86_400_000
    """How long events are kept whose runs have ended. ERRANDS_KEEP_EVENTS"""
    keep_jobs_ms: int = 86_400_000
    """How long external jobs are kept, unless they say so themselves. ERRANDS_KEEP_JOBS"""
    grace_ms: int = 20_000
    """How long runs and requests may go on when a process is told to stop. ERRANDS_GRACE"""
    value_bytes: int = 256 * 1024
    """Limit of an event, of a job's arguments and of each result, as JSON. ERRANDS_VALUE_BYTES"""
    event_keys: tuple[str, ...] = ()
    """Each of them lets its bearer send events to a server. ERRANDS_EVENT_KEY"""
    signing_key: str = ""
    """What a server signs with. ERRANDS_SIGNING_KEY"""
    api_token: str = ""
    """Lets its bearer do everything at a server. ERRANDS_API_TOKEN"""
    cors_origins: tuple[str, ...] = ()
    """Web pages of these origins may ask a server; "*": of all. ERRANDS_CORS_ORIGINS"""
    log_format: Literal["text", "json"] = "text"
    """How a worker or server logs: for people, or a JSON object a line. ERRANDS_LOG_FORMAT"""
    open_api: bool = False
    """Whoever reaches a web app may use the errands embedded in it, without keys. ERRANDS_OPEN_API
    """

    def __repr__(self) -> str:
        names = (name for name in self.__struct_fields__ if name not in SECRET)
        return f"Settings({', '.join(f'{name}={getattr(self, name)!r}' for name in names)}, …)"


VARIABLES = {
    "concurrency": "ERRANDS_CONCURRENCY",
    "threads": "ERRANDS_THREADS",
    "parked": "ERRANDS_PARKED",
    "lease_ms": "ERRANDS_LEASE",
    "keep_runs_ms": "ERRANDS_KEEP_RUNS",
    "keep_events_ms": "ERRANDS_KEEP_EVENTS",
    "keep_jobs_ms": "ERRANDS_KEEP_JOBS",
    "grace_ms": "ERRANDS_GRACE",
    "value_bytes": "ERRANDS_VALUE_BYTES",
    "event_keys": "ERRANDS_EVENT_KEY",
    "signing_key": "ERRANDS_SIGNING_KEY",
    "api_token": "ERRANDS_API_TOKEN",
    "cors_origins": "ERRANDS_CORS_ORIGINS",
    "log_format": "ERRANDS_LOG_FORMAT",
    "open_api": "ERRANDS_OPEN_API",
}
OF_INNGEST = {"event_keys": "INNGEST_EVENT_KEY", "signing_key": "INNGEST_SIGNING_KEY"}
"""Variables of its SDKs, read where ours are not set: so one .env serves both sides."""
SECRET = ("event_keys", "signing_key", "api_token")
LEAST = {"concurrency": 1, "threads": 1, "parked": 0, "lease_ms": 300, "value_bytes": 1_024}
CHOICES = {"log_format": ("text", "json")}
FILE, PROJECT = "errands.toml", "pyproject.toml"
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off", "")
_IN_FILE = {variable.removeprefix("ERRANDS_").lower(): n for n, variable in VARIABLES.items()}


class Found(msgspec.Struct, frozen=True):
    """A setting's value, and where it is from."""

    name: str
    value: Any
    origin: str
    """"default", a file's path, a variable, or a flag."""

    @property
    def is_secret(self) -> bool:
        return self.name in SECRET


class ConfigFile(msgspec.Struct, frozen=True):
    path: Path
    values: Mapping[str, Any]
    """By the field's name, as they stand there."""
    app: str | None = None
    """module:attribute of the App that `errands dev` is about."""


def settings_here(**flags: Any) -> Settings:
    """What holds for this process: its folder's file, its environment, these flags (None: not
    given). Raises InvalidConfig.
    """
    return settings_from(os.environ, find_file(Path.cwd()), flags)


def settings_from(
    environment: Mapping[str, str] = os.environ,
    file: ConfigFile | None = None,
    flags: Mapping[str, Any] | None = None,
) -> Settings:
    """The defaults, and what the sources say instead. Raises InvalidConfig."""
    found = find_settings(environment, file, flags)
    return Settings(**{one.name: one.value for one in found})


def find_settings(
    environment: Mapping[str, str],
    file: ConfigFile | None = None,
    flags: Mapping[str, Any] | None = None,
) -> list[Found]:
    """Each setting, with where it is from. Raises InvalidConfig."""
    defaults, flags, found = Settings(), flags or {}, list[Found]()
    for name, variable in VARIABLES.items():
        other = OF_INNGEST.get(name, "")
        if flags.get(name) is not None:
            flag = f"--{name.removesuffix('_ms').replace('_', '-')}"
            found.append(Found(name, _parse(name, flags[name], flag), flag))
        elif environment.get(variable) or (variable in environment and name not in SECRET):
            value = _parse(name, environment[variable], variable)
            found.append(Found(name, value, variable))
        elif environment.get(other):
            found.append(Found(name, _parse(name, environment[other], other), other))
        elif file is not None and name in file.values:
            where = f"{_in_file(name)} in {file.path}"
            found.append(Found(name, _parse(name, file.values[name], where), str(file.path)))
        else:
            found.append(Found(name, getattr(defaults, name), "default"))
    return found


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """What no log line may have in it."""
    return tuple(
        one for one in (*settings.event_keys, settings.signing_key, settings.api_token) if one
    )


def without_secrets(settings: Settings) -> Settings:
    """For what others may see, such as a child's command line."""
    return msgspec.structs.replace(settings, event_keys=(), signing_key="", api_token="")


# -- one value -------------------------------------------------------------------------------------


def _parse(name: str, given: Any, where: str) -> Any:
    """The value of the setting `name`; `where` names it in errors."""
    default = getattr(Settings(), name)
    if isinstance(default, tuple):
        return _words(given, where)
    if isinstance(default, str):
        return _choice(_text(given, where), CHOICES.get(name), where)
    if isinstance(default, bool):
        return _fact(given, where)
    number = parse_duration(given, where) if name.endswith("_ms") else _number(given, where)
    if number < (least := LEAST.get(name, 0)):
        raise InvalidConfig(f"{where}={given} is too small.", hint=f"The least is {least}.")
    return number


def _number(given: Any, where: str) -> int:
    try:
        if isinstance(given, int | str) and not isinstance(given, bool):
            return int(given)
    except ValueError:
        pass
    raise InvalidConfig(f"{where}={given!r} is no number.", hint="Write, for example, 100.")


def _fact(given: Any, where: str) -> bool:
    word = str(given).lower()
    if word not in _YES + _NO:
        raise InvalidConfig(f"{where}={given!r} is neither yes nor no.", hint="Write 1 or 0.")
    return word in _YES


def _text(given: Any, where: str) -> str:
    if not isinstance(given, str):
        raise InvalidConfig(f"{where} is no text.", hint="Put it in quotes.")
    return given.strip()


def _choice(word: str, among: Sequence[str] | None, where: str) -> str:
    if among is not None and word not in among:
        raise InvalidConfig(f"{where}={word!r} is not known.", hint=f"Write {' or '.join(among)}.")
    return word


def _words(given: Any, where: str) -> tuple[str, ...]:
    """Separated by commas, or in a file a list."""
    words = cast("Sequence[Any]", given) if isinstance(given, list) else _text(given, where)
    if isinstance(words, str):
        words = words.split(",")
    return tuple(word for one in words if (word := _text(one, where)))


# -- the file --------------------------------------------------------------------------------------


def find_file(folder: Path) -> ConfigFile | None:
    """The nearest one, from this folder upwards. Raises InvalidConfig."""
    for place in (folder, *folder.parents):
        for name in (FILE, PROJECT):
            if (path := place / name).is_file():
                table = _read(path)
                if name == PROJECT:
                    table = table.get("tool", {}).get("errands")
                if table is not None:
                    return _config_file(path, table)
    return None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidConfig(f"{path} is no TOML: {error}.", hint="Mend it there.") from None
    except OSError as error:
        raise InvalidConfig(
            f"{path} cannot be read: {error.strerror}.", hint="Look at its permissions."
        ) from None


def _config_file(path: Path, table: Mapping[str, Any]) -> ConfigFile:
    app = table.get("app")
    values: dict[str, Any] = {}
    for key, value in table.items():
        if key == "app":
            continue
        if key not in _IN_FILE:
            raise InvalidConfig(f"{path}: there is no setting {key!r}.", hint=_hint(key))
        name = _IN_FILE[key]
        if name in SECRET:
            raise InvalidConfig(
                f"{path}: {key} is a secret, and files like this one are shared.",
                hint=f"Set {VARIABLES[name]} in the environment instead.",
            )
        values[name] = value
    return ConfigFile(path, values, None if app is None else _text(app, f"app in {path}"))


def _hint(key: str) -> str:
    if key == "url":
        return "The store's URL is ERRANDS_URL: an App reads it too, and reads no files."
    return f"There are: app, {', '.join(n for n, f in _IN_FILE.items() if f not in SECRET)}."


def _in_file(name: str) -> str:
    return VARIABLES[name].removeprefix("ERRANDS_").lower()
