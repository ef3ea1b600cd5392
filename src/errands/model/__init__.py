"""Nouns: what errands talks about. Plain data, no behaviour beyond its own shape."""
