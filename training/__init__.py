"""The training room: the synthetic cabin, and the networks that learn from sessions."""
