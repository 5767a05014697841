"""How hard the properties are tried: `--hypothesis-profile=thorough` tries them harder."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Neither timing nor the speed of this machine is ever a reason to fail.
_CALM = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}

settings.register_profile("default", max_examples=60, **_CALM)  # type: ignore[arg-type]
settings.register_profile("thorough", max_examples=2000, **_CALM)  # type: ignore[arg-type]
settings.load_profile("default")
