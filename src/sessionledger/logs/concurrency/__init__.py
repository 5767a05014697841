"""What logs share to stay correct under threads, signals, forks and other processes."""
