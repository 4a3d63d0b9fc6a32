"""PMB: partition memories and histogram error estimation."""
