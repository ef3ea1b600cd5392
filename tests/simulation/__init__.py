"""Random histories of several processes on one store, with faults, under virtual time.

Engine, executors, SDK and SQLite store are the real ones; what is simulated is the world around
them: time, scheduling, crashes, an unwilling disk, a clock that jumps.
"""
