"""Back-channel logout: an identity provider tells by a signed token whose sessions are over."""

try:
    from sessionledger.web.backchannel.receiver import (
        LogoutApplication,
        LogoutReceiver,
        Provider,
        receiver_in,
    )
except ModuleNotFoundError as error:
    raise ImportError("this takes pip install 'sessionledger[backchannel]'") from error

__all__ = ["LogoutApplication", "LogoutReceiver", "Provider", "receiver_in"]
