"""What stores do, a module for each operation or group of them."""
