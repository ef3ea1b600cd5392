"""One file a noun; each has ENDPOINTS, from which both the routes and the document are made."""
