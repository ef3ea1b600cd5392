"""Mail, over real SMTP."""

import smtplib
from email.message import EmailMessage

from examples.shop import settings
from examples.shop.executions import record_execution

TEMPLATES = {
    "welcome": ("Welcome to our shop, {name}!", "Good to have you here, {name}. Look around."),
    "followup": (
        "How's it going?",
        "You have been with us for three days, {name}. Tell us how it is.",
    ),
    "failed": ("A welcome e-mail could not be sent", "{name}"),
}


def send(to: str, template: str, *, name: str) -> None:
    """Hand one message to the mail server. Raises what smtplib raises: errands tries again."""
    record_execution()
    subject, text = TEMPLATES[template]
    message = EmailMessage()
    message["From"] = "shop@example.com"
    message["To"] = to
    message["Subject"] = subject.format(name=name)
    message.set_content(text.format(name=name))
    host, _, port = settings.SMTP.partition(":")
    with smtplib.SMTP(host, int(port), timeout=10) as server:
        server.send_message(message)
