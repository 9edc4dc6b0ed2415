"""What happens in a run, told to whoever watches: a live table, plain lines, JSON events, a download's bar."""
