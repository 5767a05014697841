"""The command line: `sessionledger`, for people and for scripts.

Every module here uses the public names of `sessionledger` only. `main` is the door, `app` lists
the commands; what they share stands in small modules of its own, none of which knows a command.
"""
