"""The service as processes: sockets, the HTTP protocol, workers."""
