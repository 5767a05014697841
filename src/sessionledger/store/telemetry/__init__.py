"""What a store tells of itself: metrics and spans, where OpenTelemetry is installed."""
