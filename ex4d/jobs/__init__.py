"""Jobs over the wire: messages, their encoding, file transfer and the client."""
