"""What commands are given: options and their values, the ledger, and the token."""
