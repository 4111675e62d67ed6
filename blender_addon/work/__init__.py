"""What the add-on is doing: state, session, server."""
