"""Durable state. A store loads what the engine needs and applies what it decided; it holds no
rules.
"""
