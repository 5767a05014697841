"""What a revocable, durable session costs, beside the bare operations it is made of."""

import sys

# The type checker's environment has OpenTelemetry; what is measured here is the store without it.
sys.modules["opentelemetry"] = None  # type: ignore[assignment]
