"""“Where you are signed in”: a page that lists a user's logins and ends them."""

from sessionledger.integrations.devices.page import TEXTS, DevicePage

__all__ = ["TEXTS", "DevicePage"]
