"""The OAuth endpoints: introspection (RFC 7662) and revocation (RFC 7009)."""
