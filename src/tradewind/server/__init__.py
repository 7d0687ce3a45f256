"""REST, WebSocket and metrics over a running corridor; serves the page."""
