"""The command line: parse, call, print; no rule of its own."""
