"""The HTTP API: thin routes over one process of a store. Holds no rule of its own."""
