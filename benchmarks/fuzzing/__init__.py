"""Mutated inputs of every kind that users have, and what must hold for each of them.

Each kind makes one input from a random generator, hands it to public functions or verbs and returns
whether it was accepted. Refusals are EdgeAdErrors or exit codes; everything else is a finding.
"""
