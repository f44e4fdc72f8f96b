"""What several parts of the predecessors are built of."""
