"""A small shop that leaves its slow and its late work to errands."""
