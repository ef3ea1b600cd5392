"""Events as pydantic models: `from errands.pydantic import Event`."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, Self

from pydantic import AliasChoices, AliasPath, BaseModel, ConfigDict

from errands.model.errors import InvalidConfig
from errands.sdk.envelope import Envelope, with_given
from errands.sdk.event import RESERVED_FIELDS, EventForm, check_name, envelope_of, make_event


class Event(BaseModel):
    """Like `errands.Event`, with pydantic's fields and validators."""

    model_config = ConfigDict(frozen=True)
    event_name: ClassVar[str] = ""
    __errands_event__: ClassVar[EventForm]

    def __init_subclass__(cls, *, name: str | None = None, v: str | None = None) -> None:
        # Without them: pydantic would take `name` and `v` for settings of the model.
        super().__init_subclass__()
        if name is not None:
            check_name(name, lambda why: InvalidConfig(f"class {cls.__name__}: {why}"))
        cls.event_name = name or ""
        cls.__errands_event__ = _ModelForm(cls, name or "", v)

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        for taken in RESERVED_FIELDS:
            if taken in cls.model_fields:
                raise InvalidConfig(
                    f"{cls.__name__}.{taken}: this name is reserved by errands.",
                    hint="Call the field something else and give it its name on the wire: "
                    f'{taken}_: … = Field(alias="{taken}").',
                )

    @property
    def envelope(self) -> Envelope:
        """Id, name, time, user and version.

        Of an event not sent yet: what `with_options` set; else NotInRun.
        """
        return envelope_of(self)

    def with_options(
        self,
        *,
        id: str | None = None,
        ts: datetime | None = None,
        user: Mapping[str, Any] | None = None,
    ) -> Self:
        """The same event with an id (idempotency), a time (in the future: sent then), a user."""
        return make_event(self.model_copy(), with_given(self.envelope, id, ts, user))


class _ModelForm:
    """Of pydantic models."""

    def __init__(self, cls: type[Event], name: str, v: str | None) -> None:
        self.cls, self.name, self.v = cls, name, v

    def write(self, event: Event) -> bytes:
        data = event.model_dump_json(by_alias=True, warnings="error").encode()
        self.cls.model_validate_json(data)  # a model made by model_construct() was never validated
        return data

    def check(self, data: bytes, names: frozenset[str]) -> None:
        if self.cls.model_config.get("extra") != "allow":
            known = self._wire_names()
            if known is not None and (unknown := names - known):
                raise ValueError(f"it has no field {', '.join(map(repr, sorted(unknown)))}")
        self.cls.model_validate_json(data)

    def read(self, data: bytes, envelope: Envelope) -> Event:
        return make_event(self.cls.model_validate_json(data), envelope)

    def _wire_names(self) -> set[str] | None:
        """Keys that the model takes; None where aliases are too clever to tell."""
        names: set[str] = set()
        for field_name, field in self.cls.model_fields.items():
            alias = field.validation_alias
            if isinstance(alias, AliasChoices | AliasPath):
                return None
            names.add(alias or field_name)
            if self.cls.model_config.get("populate_by_name"):
                names.add(field_name)
        return names
