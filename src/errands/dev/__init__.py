"""`errands dev`: server and worker in one terminal, started anew when the app's files change."""
