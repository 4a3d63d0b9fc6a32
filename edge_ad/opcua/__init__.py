"""An OPC UA server that shows a line, in a process beside it: `python -m edge_ad.opcua`."""
