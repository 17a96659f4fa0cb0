"""What the commands do: batches, trainings, executors."""
