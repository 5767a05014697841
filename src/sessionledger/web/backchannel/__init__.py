"""Back-channel logout: an identity provider tells by a signed token whose sessions are over."""
