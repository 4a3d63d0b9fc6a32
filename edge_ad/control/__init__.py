"""Control a running line through a socket in its folder: state, threshold, rule, pause, trigger."""
