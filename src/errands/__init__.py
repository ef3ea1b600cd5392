"""Answer the request now; run the errand afterwards, reliably."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from errands.model.errors import ArgumentsRefused as ArgumentsRefused
    from errands.model.errors import DuplicateStep as DuplicateStep
    from errands.model.errors import ErrandsError as ErrandsError
    from errands.model.errors import EventRefused as EventRefused
    from errands.model.errors import FunctionNotFound as FunctionNotFound
    from errands.model.errors import HistoryMismatch as HistoryMismatch
    from errands.model.errors import InputMismatch as InputMismatch
    from errands.model.errors import InvalidConfig as InvalidConfig
    from errands.model.errors import JobCancelled as JobCancelled
    from errands.model.errors import JobFailed as JobFailed
    from errands.model.errors import JobIsOver as JobIsOver
    from errands.model.errors import JobNotFound as JobNotFound
    from errands.model.errors import NestedStep as NestedStep
    from errands.model.errors import NonRetriableError as NonRetriableError
    from errands.model.errors import NotExternal as NotExternal
    from errands.model.errors import NotInRun as NotInRun
    from errands.model.errors import ResultMismatch as ResultMismatch
    from errands.model.errors import ResultTimeout as ResultTimeout
    from errands.model.errors import StepError as StepError
    from errands.model.errors import StoreError as StoreError
    from errands.model.errors import Unavailable as Unavailable
    from errands.model.errors import ValueNotStorable as ValueNotStorable
    from errands.model.errors import ValueTooLarge as ValueTooLarge
    from errands.model.retry_after import RetryAfterError as RetryAfterError
    from errands.sdk.app import App as App
    from errands.sdk.context import Run as Run
    from errands.sdk.context import current_run as current_run
    from errands.sdk.envelope import Envelope as Envelope
    from errands.sdk.event import AnyEvent as AnyEvent
    from errands.sdk.event import Event as Event
    from errands.sdk.event import field as field
    from errands.sdk.failure import Failure as Failure
    from errands.sdk.function import Function as Function
    from errands.sdk.job import BoundJob as BoundJob
    from errands.sdk.job import ConfiguredJob as ConfiguredJob
    from errands.sdk.job import Job as Job
    from errands.sdk.job import JobFunction as JobFunction
    from errands.sdk.job import JobStatus as JobStatus
    from errands.sdk.middleware import Middleware as Middleware
    from errands.sdk.options import JSON as JSON
    from errands.sdk.options import Cancel as Cancel
    from errands.sdk.options import Duration as Duration
    from errands.sdk.options import Retries as Retries
    from errands.sdk.options import Timeouts as Timeouts
    from errands.sdk.options import Trigger as Trigger
    from errands.sdk.step import Progress as Progress
    from errands.sdk.step import Step as Step
    from errands.sdk.step import progress as progress
    from errands.sdk.step import step as step
    from errands.sdk.sync import sync as sync
else:
    # Each name is imported when it is asked for first: a command, a worker's parent or a plugin of
    # pytest need few of them.
    import importlib

    _PLACES = {
        "errands.model.errors": (
            "ArgumentsRefused DuplicateStep ErrandsError EventRefused FunctionNotFound "
            "HistoryMismatch InputMismatch InvalidConfig JobCancelled JobFailed JobIsOver "
            "JobNotFound NestedStep NonRetriableError NotExternal NotInRun ResultMismatch "
            "ResultTimeout StepError StoreError Unavailable ValueNotStorable ValueTooLarge"
        ),
        "errands.model.retry_after": "RetryAfterError",
        "errands.sdk.app": "App",
        "errands.sdk.context": "Run current_run",
        "errands.sdk.envelope": "Envelope",
        "errands.sdk.event": "AnyEvent Event field",
        "errands.sdk.failure": "Failure",
        "errands.sdk.function": "Function",
        "errands.sdk.job": "BoundJob ConfiguredJob Job JobFunction JobStatus",
        "errands.sdk.middleware": "Middleware",
        "errands.sdk.options": "JSON Cancel Duration Retries Timeouts Trigger",
        "errands.sdk.step": "Progress Step progress step",
        "errands.sdk.sync": "sync",
    }
    _HOMES = {name: module for module, names in _PLACES.items() for name in names.split()}
    __all__ = sorted(_HOMES)

    def __getattr__(name):
        module = _HOMES.get(name)
        if module is None:
            raise AttributeError(f"module 'errands' has no attribute {name!r}")
        value = globals()[name] = getattr(importlib.import_module(module), name)
        return value

    def __dir__():
        return sorted({*globals(), *_HOMES})
