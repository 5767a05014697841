"""What HTTP says of bearers and their sessions: for the service and the integrations alike.

Nothing here reads a ledger, and nothing knows a framework.
"""
