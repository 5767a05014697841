"""What happened: histories, states as they were, events as they come, and counts of them."""
