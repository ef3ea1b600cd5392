"""Fire-and-forget requests to one's own web app, and how it knows that they are its own."""

from errands.sdk.background import BackgroundJob, run_background_job
from errands.sdk.guard import is_internal

__all__ = ["BackgroundJob", "is_internal", "run_background_job"]
