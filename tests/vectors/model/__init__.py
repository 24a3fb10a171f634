"""An independent model of the pool's rules (src/consensus.md), in plain Python.

It was written from the text of the rules, not from the Rust code, so that the two can be held against
each other. Clarity comes before speed everywhere: sums are taken from scratch, nothing is cached.

Hashes and ids are `bytes` in the order the hash function gives them; only text shown to people (and
JSON fields named `id`, `parent`, `uncles`, `prev_block`, `tip`) is reversed as Bitcoin does it.
"""
