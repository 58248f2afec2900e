"""What is measured on a trained network, without training: what its modules are worth, what its critic knows."""
