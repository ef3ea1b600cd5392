"""PostgreSQL: many processes write at once, and none of them waits for another's rows."""
