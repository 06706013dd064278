"""How fast training is, compared with stock and with what the hardware can do."""
