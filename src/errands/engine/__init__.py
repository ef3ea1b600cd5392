"""Rules: given what happened, what is stored and the time, what follows. Pure."""
