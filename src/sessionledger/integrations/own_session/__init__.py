"""What keeps a framework's own session in the ledger, for all frameworks."""
