"""What logs over an SQL database share."""
