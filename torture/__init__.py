"""Tries to break a ledger from outside, and checks what was acknowledged: `make torture`."""
