"""What logs inside this process share: rows in memory, and checks of the file system."""
