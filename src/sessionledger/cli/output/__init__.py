"""What commands write: records as lines, JSON or tables, errors, and progress bars."""
