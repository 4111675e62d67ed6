"""The add-on at work: state, session, server."""
