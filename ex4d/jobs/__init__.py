"""Jobs over the wire: messages, their coding, file transfer and the client."""
