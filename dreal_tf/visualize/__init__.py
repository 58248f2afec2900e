"""What a network looks at, as arrays. Knows no recipes, no files, and draws nothing."""
