"""What the handlers of one worker share: stores, admin keys, limits."""
