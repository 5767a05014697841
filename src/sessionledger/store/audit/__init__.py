"""What is told about a ledger as a whole: heads, verification, diagnosis."""
