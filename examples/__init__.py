"""Applications written on errands as its users would."""
