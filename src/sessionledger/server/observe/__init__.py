"""What operators see of the service: the access log and the metrics."""
