"""Where the shop keeps its things, from the environment."""

import os
from pathlib import Path

DATA = Path(os.environ.get("SHOP_DATA", ".errands/shop"))
"""Folder of the database, the pictures and the log of executions."""
SMTP = os.environ.get("SHOP_SMTP", "127.0.0.1:1025")
"""Address of the mail server; `python -m examples.shop.inbox` is one."""
FOLLOWUP_AFTER = os.environ.get("SHOP_FOLLOWUP_AFTER", "3 days")
"""Time from the welcome e-mail to the follow-up; the demo cannot wait that long."""
