"""The console: pages for people who operate a ledger, on a listener of its own.

    sessionledger serve --console
    sessionledger console --ledger sqlite:///sessions.db

docs/console.md says what each page is for, and how it is kept safe.
"""
