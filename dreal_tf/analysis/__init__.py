"""The contribution and the cost of attention modules: audit, report and benchmark."""
