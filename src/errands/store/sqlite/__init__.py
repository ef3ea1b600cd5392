"""SQLite: one file, one writer thread per process, several processes taking turns."""
