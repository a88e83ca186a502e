"""Networks from a degraded picture to a restored one, one file each."""
