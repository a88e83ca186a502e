"""What everything else stands on: errors, atomic files, seeds, checkpoints, nearest names."""
