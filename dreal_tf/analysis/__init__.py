"""What attention modules contribute and cost: audit, report and benchmark."""
