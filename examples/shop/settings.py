"""Where the shop keeps its things and how long it waits, from the environment."""

import os
import secrets
from pathlib import Path

DATA = Path(os.environ.get("SHOP_DATA", ".errands/shop"))
"""Folder of the database, what customers upload, and the log of executions."""
FILES = DATA / "files"
"""What the shop hands out under /files: invoices, reports, thumbnails."""
URL = os.environ.get("SHOP_URL", "http://127.0.0.1:8000")
"""Where the shop reaches itself. Not taken from requests: whoever sends one chooses its Host."""
INTERNAL_API_KEY = os.environ.get("INTERNAL_API_KEY") or secrets.token_urlsafe()
"""What the shop shows when it asks itself. Default: a new one, good within this process."""
SMTP = os.environ.get("SHOP_SMTP", "127.0.0.1:1025")
"""Address of the mail server; `python -m examples.shop.inbox` is one."""
FOLLOWUP_AFTER = os.environ.get("SHOP_FOLLOWUP_AFTER", "3 days")
"""Time from the welcome e-mail to the follow-up; the demo cannot wait that long."""
PAYMENT_AFTER = os.environ.get("SHOP_PAYMENT_AFTER", "5s")
"""Time in which an order may still be called off."""
