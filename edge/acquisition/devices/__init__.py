"""One module per serial or vendor device protocol (sans-IO)."""
