"""An independent model of the pool's rules (src/consensus.md), in plain Python.

It was written from the text of the rules, not from the Rust code, so that the two can be compared. It prefers clarity
to speed: sums are computed from scratch, nothing is cached.

Hashes and ids are `bytes` in internal byte order. Only texts for people, and the JSON fields `id`, `parent`, `uncles`,
`prev_block` and `tip`, use Bitcoin's display order.
"""
