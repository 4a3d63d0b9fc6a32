"""The operator's page: a web server beside a line, which reads its store and asks its socket."""
