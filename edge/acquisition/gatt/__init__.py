"""One module per Bluetooth profile (sans-IO)."""
