"""Caps on what clients may take of the server.

They bound its memory: a client that opens, reconnects and never closes, or never reads, ends at one
of them. A SCADA system uses one session with one to three subscriptions.
"""

from __future__ import annotations

CONNECTIONS = 20  # and sessions: one a connection
SUBSCRIPTIONS = 5  # of one session
ITEMS = 300  # monitored by one session: about ten cameras with every variable
EVENT_ITEMS = 4  # ... of which for events
QUEUE = 100  # changes kept for one item
EVENT_QUEUE = 1_000  # ... and events: a client that is slow for a while must not miss a reject
UNREAD = 20  # notifications kept until a client has acknowledged them, of one subscription
NODES = 1_000  # of one request
FILTER_ELEMENTS = 10  # of the condition of an event filter
FILTER_REFERENCES = 16  # between them, since each is evaluated as often as it is referred to

MIN_INTERVAL_MS, MAX_INTERVAL_MS = 50.0, 60_000.0  # between notifications
MIN_IDLE_MS, MAX_IDLE_MS = 5_000.0, 60_000.0  # after which an idle session ends
LOGIN_S = 30.0  # for a connection to become a session

MESSAGE_BYTES = 1 << 20  # of one request, in chunks of 64 KiB
PENDING = 50  # requests of one connection that wait
UNSENT_BYTES = 8 << 20  # answers that a client does not read
PROCESS_BYTES = 1 << 30  # memory of the process, should one of the others fail
