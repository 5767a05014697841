"""Who may do what over HTTP: credentials and permissions."""
