"""The method: critics, rewards, instruments and losses. Gone at inference."""
