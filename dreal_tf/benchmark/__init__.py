"""What things cost, measured: a step with and without the method, its parts, memory, modules."""
