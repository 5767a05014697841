"""Metrics and spans of a store, where OpenTelemetry is installed."""
