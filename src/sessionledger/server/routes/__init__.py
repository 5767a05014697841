"""The handlers of the framework, a module for each resource."""
