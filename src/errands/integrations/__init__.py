"""errands inside other frameworks."""
