"""The pure core: what a session is, what may happen to it, and what that makes of it.

No I/O, no clock, no randomness; both are passed in. Imports nothing of ours but `errors` and
`canonical`.
"""
