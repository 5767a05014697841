"""What a revocable, durable session costs, beside the bare operations it is made of."""
