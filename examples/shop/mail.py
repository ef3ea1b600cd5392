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
    "order": ("Your order {order}", "Thank you. We take {total} from your card in a moment."),
    "failed": ("A welcome e-mail could not be sent", "{what}"),
}


def send(to: str, template: str, **words: str) -> None:
    """Hand one message to the mail server. Raises what smtplib raises: errands tries again."""
    record_execution()
    subject, text = TEMPLATES[template]
    message = EmailMessage()
    message["From"] = "shop@example.com"
    message["To"] = to
    message["Subject"] = subject.format(**words)
    message.set_content(text.format(**words))
    host, _, port = settings.SMTP.partition(":")
    with smtplib.SMTP(host, int(port), timeout=10) as server:
        server.send_message(message)
