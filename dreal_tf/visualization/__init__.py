"""What a network looks at: computed as arrays, drawn as figures. Knows no recipe and no run."""
