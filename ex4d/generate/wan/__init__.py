"""The EX-4D model: Wan2.1-I2V-14B with the EX-4D adapter."""
